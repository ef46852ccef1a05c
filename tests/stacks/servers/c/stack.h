/* What ftp.c wants of a TLS stack: one of openssl.c, gnutls.c and mbedtls.c. Sockets block. */

#ifndef STACK_H
#define STACK_H

#include <stddef.h>

/* What `tls_read` returns where there is no more data. */
enum { ENDED_BY_CLOSE_NOTIFY = 0, ENDED_BY_FIN = -1, BROKEN = -2 };

enum deed { NO_DEED, SEND_TICKET, SEND_UPDATE, REQUEST_UPDATE, RENEGOTIATE };

struct tls;

/* Its name and version. */
const char *stack_name(void);
/* Once, before any session: 1 where it speaks this version (12 or 13). */
int stack_speaks(int version);
int stack_can(enum deed deed, int version);
/* Once for each FTP session, in a process of its own: certificate, version, and ticket keys that no other session has. */
void stack_begin(const char *certificate, const char *key, int version);

/* The handshake on `socket`; NULL when it failed. */
struct tls *tls_accept(int socket);
int tls_resumed(struct tls *tls);
/* Bytes read, 1 at least, or one of the ends above. */
long tls_read(struct tls *tls, char *buffer, size_t size);
/* 0, or -1 when the connection broke. */
int tls_write(struct tls *tls, const char *data, size_t size);
/*
 * Does that, and says so by `say` when it is done: 0, or -1 when the connection broke. A sender does nothing else until
 * then; a reader reads on, and what is left to be done is done by `tls_read`.
 */
int tls_do(struct tls *tls, enum deed deed, int reader);
/* close_notify, as this stack sends it when it is told to close. */
void tls_bye(struct tls *tls);
void tls_free(struct tls *tls);

void sha256(const char *data, size_t size, unsigned char digest[32]);

/* From ftp.c: one line for the test, and the end of this process over something that can't go on. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *what) __attribute__((noreturn));

#endif
