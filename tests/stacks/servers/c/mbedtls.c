/* Mbed TLS behind stack.h: 2.28, which Debian 12 has. It speaks no TLS 1.3, and 3.x is told not to. */

#include "stack.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/pk.h>
#include <mbedtls/sha256.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>

#if MBEDTLS_VERSION_MAJOR >= 3
#define IS_OVER(ssl) mbedtls_ssl_is_handshake_over(ssl)
#define PARSE_KEY(pk, file) mbedtls_pk_parse_keyfile(pk, file, NULL, mbedtls_ctr_drbg_random, &random_source)
#define SHA256(data, size, digest) mbedtls_sha256(data, size, digest, 0)
#define ONLY_TLS_1_2(config) mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2)
#else
#define IS_OVER(ssl) ((ssl)->state == MBEDTLS_SSL_HANDSHAKE_OVER)
#define PARSE_KEY(pk, file) mbedtls_pk_parse_keyfile(pk, file, NULL)
#define SHA256(data, size, digest) mbedtls_sha256_ret(data, size, digest, 0)
#define ONLY_TLS_1_2(config) \
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3)
#endif

struct tls {
    mbedtls_ssl_context ssl;
    mbedtls_net_context net;
    int resumed, only_shake_hands;
    enum { QUIET, ASKED, UNDER_WAY } renegotiation;
};

static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context random_source;
static mbedtls_x509_crt chain;
static mbedtls_pk_context private_key;
static mbedtls_ssl_config config;
static mbedtls_ssl_ticket_context tickets;
static int ticket_taken;

const char *stack_name(void) { return "Mbed TLS " MBEDTLS_VERSION_STRING; }

int stack_speaks(int version) { return version == 12; }

int stack_can(enum deed deed, int version) { return deed == RENEGOTIATE && version == 12; }

static int parse_ticket(void *context, mbedtls_ssl_session *session, unsigned char *ticket, size_t size) {
    int result = mbedtls_ssl_ticket_parse(context, session, ticket, size);
    ticket_taken = result == 0;
    return result;
}

void stack_begin(const char *certificate, const char *key, int version) {
    (void)version;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random_source);
    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&private_key);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_ticket_init(&tickets);
    if (mbedtls_ctr_drbg_seed(&random_source, mbedtls_entropy_func, &entropy, NULL, 0) ||
        mbedtls_x509_crt_parse_file(&chain, certificate) || PARSE_KEY(&private_key, key) ||
        mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) ||
        mbedtls_ssl_conf_own_cert(&config, &chain, &private_key) ||
        mbedtls_ssl_ticket_setup(&tickets, mbedtls_ctr_drbg_random, &random_source, MBEDTLS_CIPHER_AES_256_GCM, 86400))
        fail("no certificate");
    ONLY_TLS_1_2(&config);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random_source);
    mbedtls_ssl_conf_session_tickets_cb(&config, mbedtls_ssl_ticket_write, parse_ticket, &tickets);
    mbedtls_ssl_conf_renegotiation(&config, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    /* As it comes it gives up when 16 records arrive before the answer, however many are on their way. */
    mbedtls_ssl_conf_renegotiation_enforced(&config, MBEDTLS_SSL_RENEGOTIATION_NOT_ENFORCED);
}

static void notice(struct tls *tls) {
    if (tls->renegotiation == ASKED && !IS_OVER(&tls->ssl)) tls->renegotiation = UNDER_WAY;
    if (tls->renegotiation == UNDER_WAY && IS_OVER(&tls->ssl)) {
        tls->renegotiation = QUIET;
        say("did renegotiate");
    }
}

static int send_raw(void *context, const unsigned char *data, size_t size) {
    return mbedtls_net_send(&((struct tls *)context)->net, data, size);
}

static int receive_raw(void *context, unsigned char *buffer, size_t size) {
    struct tls *tls = context;
    notice(tls); /* before it waits for what comes behind the new handshake */
    if (tls->only_shake_hands && tls->renegotiation == QUIET) return MBEDTLS_ERR_SSL_WANT_READ;
    return mbedtls_net_recv(&tls->net, buffer, size);
}

static int report(const char *what, int result) {
    char words[128];
    mbedtls_strerror(result, words, sizeof words);
    fprintf(stderr, "%s: %s\n", what, words);
    return -1;
}

struct tls *tls_accept(int socket) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls) fail("out of memory");
    mbedtls_ssl_init(&tls->ssl);
    tls->net.fd = socket;
    mbedtls_ssl_set_bio(&tls->ssl, tls, send_raw, receive_raw, NULL);
    ticket_taken = 0;
    int result = mbedtls_ssl_setup(&tls->ssl, &config);
    if (!result) result = mbedtls_ssl_handshake(&tls->ssl);
    tls->resumed = ticket_taken;
    if (!result) return tls;
    report("mbedtls_ssl_handshake", result);
    tls_free(tls);
    return NULL;
}

int tls_resumed(struct tls *tls) { return tls->resumed; }

long tls_read(struct tls *tls, char *buffer, size_t size) {
    int got;
    do got = mbedtls_ssl_read(&tls->ssl, (unsigned char *)buffer, size);
    while (got == MBEDTLS_ERR_SSL_WANT_READ || got == MBEDTLS_ERR_SSL_WANT_WRITE);
    notice(tls);
    if (got > 0) return got;
    if (got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return ENDED_BY_CLOSE_NOTIFY;
    if (got == 0 || got == MBEDTLS_ERR_SSL_CONN_EOF) return ENDED_BY_FIN;
    report("mbedtls_ssl_read", got);
    return BROKEN;
}

int tls_write(struct tls *tls, const char *data, size_t size) {
    while (size) {
        int sent = mbedtls_ssl_write(&tls->ssl, (const unsigned char *)data, size);
        if (sent < 0) return report("mbedtls_ssl_write", sent);
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int tls_do(struct tls *tls, enum deed deed, int reader) {
    (void)deed;
    int result = mbedtls_ssl_renegotiate(&tls->ssl); /* asks, no more: HelloRequest */
    if (result) return report("mbedtls_ssl_renegotiate", result);
    tls->renegotiation = ASKED;
    if (reader) return 0;
    unsigned char unexpected;
    tls->only_shake_hands = 1;
    result = mbedtls_ssl_read(&tls->ssl, &unexpected, 1); /* in which the new handshake takes place */
    tls->only_shake_hands = 0;
    if (result == MBEDTLS_ERR_SSL_WANT_READ && tls->renegotiation == QUIET) return 0;
    return result > 0 ? -1 : report("renegotiation", result);
}

void tls_bye(struct tls *tls) { mbedtls_ssl_close_notify(&tls->ssl); }

void tls_free(struct tls *tls) {
    mbedtls_ssl_free(&tls->ssl);
    free(tls);
}

void sha256(const char *data, size_t size, unsigned char digest[32]) {
    SHA256((const unsigned char *)data, size, digest);
}
