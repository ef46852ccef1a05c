/* GnuTLS behind stack.h. */

#include "stack.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>

struct tls {
    gnutls_session_t session;
};

static gnutls_certificate_credentials_t credentials;
static gnutls_datum_t ticket_key;
static gnutls_priority_t priority;

const char *stack_name(void) {
    static char name[64];
    snprintf(name, sizeof name, "GnuTLS %s", gnutls_check_version(NULL));
    return name;
}

int stack_speaks(int version) { return version == 12 || version == 13; }

int stack_can(enum deed deed, int version) { return deed != NO_DEED && (deed == RENEGOTIATE) == (version == 12); }

void stack_begin(const char *certificate, const char *key, int version) {
    const char *wanted = version == 12 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
    if (gnutls_certificate_allocate_credentials(&credentials) ||
        gnutls_certificate_set_x509_key_file(credentials, certificate, key, GNUTLS_X509_FMT_PEM) ||
        gnutls_session_ticket_key_generate(&ticket_key) || gnutls_priority_init(&priority, wanted, NULL))
        fail("no certificate");
}

static int watch(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming, const gnutls_datum_t *message) {
    (void)session, (void)type, (void)when, (void)message;
    if (incoming) say("peer update");
    return 0;
}

static int shake_hands(struct tls *tls) {
    int result;
    do result = gnutls_handshake(tls->session);
    while (result < 0 && result != GNUTLS_E_GOT_APPLICATION_DATA && !gnutls_error_is_fatal(result));
    if (result < 0) fprintf(stderr, "gnutls_handshake: %s\n", gnutls_strerror(result));
    return result;
}

struct tls *tls_accept(int socket) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls || gnutls_init(&tls->session, GNUTLS_SERVER)) fail("out of memory");
    gnutls_priority_set(tls->session, priority);
    gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_session_ticket_enable_server(tls->session, &ticket_key);
    gnutls_transport_set_int(tls->session, socket);
    gnutls_handshake_set_hook_function(tls->session, GNUTLS_HANDSHAKE_KEY_UPDATE, GNUTLS_HOOK_POST, watch);
    if (shake_hands(tls) == 0) return tls;
    tls_free(tls);
    return NULL;
}

int tls_resumed(struct tls *tls) { return gnutls_session_is_resumed(tls->session); }

/* As `tls_read`, but GNUTLS_E_REHANDSHAKE passes. */
static long read_once(struct tls *tls, char *buffer, size_t size) {
    long got;
    do got = gnutls_record_recv(tls->session, buffer, size);
    while (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
    if (got == GNUTLS_E_PREMATURE_TERMINATION) return ENDED_BY_FIN;
    if (got >= 0 || got == GNUTLS_E_REHANDSHAKE) return got;
    fprintf(stderr, "gnutls_record_recv: %s\n", gnutls_strerror((int)got));
    return BROKEN;
}

static int renegotiate(struct tls *tls) {
    if (shake_hands(tls)) return -1;
    say("did renegotiate");
    return 0;
}

long tls_read(struct tls *tls, char *buffer, size_t size) {
    for (;;) {
        long got = read_once(tls, buffer, size);
        if (got != GNUTLS_E_REHANDSHAKE) return got;
        if (renegotiate(tls)) return BROKEN;
    }
}

int tls_write(struct tls *tls, const char *data, size_t size) {
    while (size) {
        ssize_t sent;
        do sent = gnutls_record_send(tls->session, data, size);
        while (sent == GNUTLS_E_AGAIN || sent == GNUTLS_E_INTERRUPTED);
        if (sent < 0) return -1;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int tls_do(struct tls *tls, enum deed deed, int reader) {
    char unexpected;
    switch (deed) {
    case SEND_TICKET:
        if (gnutls_session_ticket_send(tls->session, 1, 0)) return -1;
        say("did ticket");
        return 0;
    case SEND_UPDATE:
    case REQUEST_UPDATE:
        if (gnutls_session_key_update(tls->session, deed == REQUEST_UPDATE ? GNUTLS_KU_PEER : 0)) return -1;
        say("did %s", deed == SEND_UPDATE ? "update" : "request");
        return 0;
    default:
        if (gnutls_rehandshake(tls->session)) return -1; /* asks, no more: HelloRequest */
        if (reader) return 0;
        return read_once(tls, &unexpected, 1) == GNUTLS_E_REHANDSHAKE ? renegotiate(tls) : -1;
    }
}

void tls_bye(struct tls *tls) { gnutls_bye(tls->session, GNUTLS_SHUT_WR); }

void tls_free(struct tls *tls) {
    gnutls_deinit(tls->session);
    free(tls);
}

void sha256(const char *data, size_t size, unsigned char digest[32]) {
    gnutls_hash_fast(GNUTLS_DIG_SHA256, data, size, digest);
}
