/* OpenSSL 3 behind stack.h: the one that is installed, which is Debian's. */

#include "stack.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>

struct tls {
    SSL *ssl;
    int renegotiating;
};

static SSL_CTX *context;

const char *stack_name(void) { return OpenSSL_version(OPENSSL_VERSION); }

int stack_speaks(int version) { return version == 12 || version == 13; }

int stack_can(enum deed deed, int version) { return deed != NO_DEED && (deed == RENEGOTIATE) == (version == 12); }

static void watch(int sent, int version, int type, const void *message, size_t size, SSL *ssl, void *argument) {
    (void)version, (void)ssl, (void)argument;
    if (!sent && type == SSL3_RT_HANDSHAKE && size && *(const unsigned char *)message == SSL3_MT_KEY_UPDATE)
        say("peer update");
}

static void notice(const SSL *ssl, int where, int result) {
    struct tls *tls = SSL_get_app_data(ssl);
    (void)result;
    if (!(where & SSL_CB_HANDSHAKE_DONE) || !tls->renegotiating || SSL_renegotiate_pending(ssl)) return;
    tls->renegotiating = 0;
    say("did renegotiate");
}

void stack_begin(const char *certificate, const char *key, int version) {
    int protocol = version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        fail("no certificate");
    SSL_CTX_set_min_proto_version(context, protocol);
    SSL_CTX_set_max_proto_version(context, protocol);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"ftp", 3);
    SSL_CTX_set_msg_callback(context, watch);
    SSL_CTX_set_info_callback(context, notice);
}

struct tls *tls_accept(int socket) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls || !(tls->ssl = SSL_new(context))) fail("out of memory");
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_fd(tls->ssl, socket);
    if (SSL_accept(tls->ssl) == 1) return tls;
    ERR_print_errors_fp(stderr);
    tls_free(tls);
    return NULL;
}

int tls_resumed(struct tls *tls) { return SSL_session_reused(tls->ssl); }

/* A read; 0 where the socket, which may not wait now, brought neither data nor an end. */
static long read_once(struct tls *tls, char *buffer, size_t size, int *nothing) {
    ERR_clear_error();
    int got = SSL_read(tls->ssl, buffer, (int)size);
    *nothing = 0;
    if (got > 0) return got;
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        *nothing = 1;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return ENDED_BY_CLOSE_NOTIFY;
    case SSL_ERROR_SSL:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return ENDED_BY_FIN;
        ERR_print_errors_fp(stderr);
        return BROKEN;
    default:
        return BROKEN;
    }
}

long tls_read(struct tls *tls, char *buffer, size_t size) {
    for (;;) {
        int nothing;
        long got = read_once(tls, buffer, size, &nothing);
        if (!nothing) return got;
    }
}

int tls_write(struct tls *tls, const char *data, size_t size) {
    ERR_clear_error();
    return SSL_write(tls->ssl, data, (int)size) == (int)size ? 0 : -1;
}

/* A read would wait for data once the handshake is done: so the socket may not wait meanwhile. */
static int await_handshake(struct tls *tls) {
    struct pollfd socket = {.fd = SSL_get_fd(tls->ssl), .events = POLLIN};
    int flags = fcntl(socket.fd, F_GETFL), nothing = 1;
    fcntl(socket.fd, F_SETFL, flags | O_NONBLOCK);
    while (nothing && tls->renegotiating && poll(&socket, 1, 30000) == 1) {
        char unexpected;
        read_once(tls, &unexpected, 1, &nothing);
    }
    fcntl(socket.fd, F_SETFL, flags);
    return nothing && !tls->renegotiating ? 0 : -1;
}

int tls_do(struct tls *tls, enum deed deed, int reader) {
    ERR_clear_error();
    switch (deed) {
    case SEND_TICKET:
        if (SSL_new_session_ticket(tls->ssl) != 1 || SSL_do_handshake(tls->ssl) != 1) return -1;
        say("did ticket");
        return 0;
    case SEND_UPDATE:
    case REQUEST_UPDATE:
        if (SSL_key_update(tls->ssl, deed == SEND_UPDATE ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED) != 1 ||
            SSL_do_handshake(tls->ssl) != 1)
            return -1;
        say("did %s", deed == SEND_UPDATE ? "update" : "request");
        return 0;
    default:
        if (SSL_renegotiate(tls->ssl) != 1 || SSL_do_handshake(tls->ssl) != 1) return -1;
        tls->renegotiating = 1;
        return reader ? 0 : await_handshake(tls);
    }
}

void tls_bye(struct tls *tls) {
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
}

void tls_free(struct tls *tls) {
    SSL_free(tls->ssl);
    free(tls);
}

void sha256(const char *data, size_t size, unsigned char digest[32]) {
    SHA256((const unsigned char *)data, size, digest);
}
