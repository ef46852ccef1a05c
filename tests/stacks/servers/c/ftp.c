/*
 * The FTP of the servers in C, for any TLS stack behind stack.h: see ../README.md for what they all do.
 * A process for each session, one thing at a time.
 */

#include "stack.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 16384, LINE = 4096, PATIENCE_MS = 30000 };
#define BIGGEST ((size_t)8 << 20)

static const char *const DEEDS[] = {"", "ticket", "update", "request", "renegotiate"};
static const char *const SIZES[] = {"0", "1", "16384", "8388608"};

struct play {
    enum deed deed;
    size_t at, stop;
    int times, slow, reply, reuse;
    char end[16];
};

static const struct play BY_THE_BOOK = {NO_DEED, 0, (size_t)-1, 1, 0, 0, 0, "plain"};

static struct play play;
static int version, control = -1, passive = -1;
static struct tls *control_tls;
static char *content, *upload;

void say(const char *format, ...) {
    char line[LINE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[size] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)size + 1) < 0) _exit(1);
}

void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", stack_name(), what);
    _exit(1);
}

/* --- the control connection --- */

static long read_control(char *buffer, size_t size) {
    return control_tls ? tls_read(control_tls, buffer, size) : recv(control, buffer, size, 0);
}

static void read_line(char line[LINE]) {
    size_t size = 0;
    for (;;) {
        char letter;
        if (read_control(&letter, 1) <= 0) _exit(0);
        if (letter == '\n') break;
        if (letter != '\r' && size < LINE - 1) line[size++] = letter;
    }
    line[size] = 0;
}

__attribute__((format(printf, 1, 2))) static void reply(const char *format, ...) {
    char line[LINE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line - 2, format, arguments);
    va_end(arguments);
    memcpy(line + size, "\r\n", 2);
    size += 2;
    if (control_tls ? tls_write(control_tls, line, (size_t)size) : send(control, line, (size_t)size, 0) != size)
        _exit(0);
}

/* --- data connections --- */

static int listen_on_loopback(unsigned short *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        fail("no socket to listen on");
    *port = ntohs(address.sin_port);
    return listener;
}

static void listen_for_data(int extended) {
    unsigned short port;
    if (passive >= 0) close(passive);
    passive = listen_on_loopback(&port);
    if (extended)
        reply("229 Entering Extended Passive Mode (|||%u|)", port);
    else
        reply("227 Entering Passive Mode (127,0,0,1,%u,%u)", port >> 8, port & 255);
}

/* The data connection, secured and as `play` wants it; NULL after a reply that says why not. */
static struct tls *open_data(int *socket_) {
    if (passive < 0) {
        reply("425 Say EPSV or PASV first");
        return NULL;
    }
    reply("150 Here it comes");
    struct pollfd waiting = {.fd = passive, .events = POLLIN};
    int data = poll(&waiting, 1, PATIENCE_MS) == 1 ? accept(passive, NULL, NULL) : -1;
    close(passive);
    passive = -1;
    if (data < 0) {
        reply("425 No data connection");
        return NULL;
    }
    struct tls *tls = tls_accept(data);
    if (!tls) {
        close(data);
        reply("425 No TLS on the data connection");
        return NULL;
    }
    int resumed = tls_resumed(tls);
    say("data resumed=%s", resumed ? "yes" : "no");
    if (play.reuse && !resumed) {
        tls_bye(tls);
        tls_free(tls);
        close(data);
        reply("522 The TLS session of the control connection was not resumed");
        return NULL;
    }
    *socket_ = data;
    return tls;
}

static void close_data(struct tls *tls, int data) {
    if (!strcmp(play.end, "plain")) {
        tls_bye(tls);
    } else if (!strcmp(play.end, "wait")) {
        char rest[CHUNK];
        long got;
        tls_bye(tls);
        while ((got = tls_read(tls, rest, sizeof rest)) > 0) continue;
        say("peer %s", got == ENDED_BY_CLOSE_NOTIFY ? "close_notify" : got == ENDED_BY_FIN ? "fin" : "broken");
    } else if (!strcmp(play.end, "reset")) {
        struct linger now = {1, 0};
        setsockopt(data, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(data);
    tls_free(tls);
}

/* Whether it is time for the deed, for the `done`th time. */
static int is_time(size_t moved, int done) {
    return play.deed && done < play.times && moved >= play.at * (size_t)(done + 1);
}

static void send_data(const char *data, size_t size) {
    int data_socket, done = 0, broken = 0;
    size_t sent = 0;
    struct tls *tls = open_data(&data_socket);
    if (!tls) return;
    while (!broken) {
        if (is_time(sent, done)) {
            broken = tls_do(tls, play.deed, 0);
            done++;
            continue;
        }
        if (sent == size || sent >= play.stop) break;
        size_t part = size - sent < CHUNK ? size - sent : CHUNK;
        if (part > play.stop - sent) part = play.stop - sent;
        broken = tls_write(tls, data + sent, part);
        if (!broken) sent += part;
    }
    say("sent %zu%s", sent, broken ? " broken" : "");
    close_data(tls, data_socket);
    reply("%d bytes=%zu", broken ? 426 : play.reply ? play.reply : 226, sent);
}

static void receive_data(void) {
    int data_socket, done = 0;
    size_t stored = 0;
    long got = 1;
    struct tls *tls = open_data(&data_socket);
    if (!tls) return;
    while (stored < play.stop && stored < BIGGEST + CHUNK) {
        if (is_time(stored, done)) {
            if (tls_do(tls, play.deed, 1)) {
                got = BROKEN;
                break;
            }
            done++;
            continue;
        }
        if (play.slow) usleep((unsigned)play.slow * 1000);
        got = tls_read(tls, upload + stored, CHUNK);
        if (got <= 0) break;
        stored += (size_t)got;
    }
    say("stored %zu %s", stored,
        got > 0 ? "stopped" : got == ENDED_BY_CLOSE_NOTIFY ? "close_notify" : got == ENDED_BY_FIN ? "fin" : "broken");
    unsigned char digest[32];
    char hex[65];
    sha256(upload, stored, digest);
    for (int i = 0; i < 32; i++) sprintf(hex + 2 * i, "%02x", digest[i]);
    close_data(tls, data_socket);
    int whole = got == ENDED_BY_CLOSE_NOTIFY || got > 0;
    reply("%d bytes=%zu sha256=%s", play.reply ? play.reply : whole ? 226 : 426, stored, hex);
}

/* --- commands --- */

static enum deed deed_called(const char *name) {
    for (size_t i = 1; i < sizeof DEEDS / sizeof *DEEDS; i++)
        if (!strcmp(name, DEEDS[i])) return (enum deed)i;
    return NO_DEED;
}

static void site(char *argument) {
    if (!strncmp(argument, "NOW ", 4)) {
        enum deed deed = deed_called(argument + 4);
        if (!stack_can(deed, version))
            reply("504 Not with %s", stack_name());
        else if (tls_do(control_tls, deed, 0))
            _exit(0);
        else
            reply("200 Done");
        return;
    }
    play = BY_THE_BOOK;
    for (char *word = strtok(argument, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        if (!value) break;
        *value++ = 0;
        if (!strcmp(word, "do")) play.deed = deed_called(value);
        else if (!strcmp(word, "at")) play.at = strtoul(value, NULL, 10);
        else if (!strcmp(word, "times")) play.times = atoi(value);
        else if (!strcmp(word, "stop")) play.stop = strtoul(value, NULL, 10);
        else if (!strcmp(word, "slow")) play.slow = atoi(value);
        else if (!strcmp(word, "reply")) play.reply = atoi(value);
        else if (!strcmp(word, "reuse")) play.reuse = !strcmp(value, "required");
        else if (!strcmp(word, "end")) snprintf(play.end, sizeof play.end, "%s", value);
        else { reply("501 What is %s", word); return; }
        if (!strcmp(word, "do") && !stack_can(play.deed, version)) {
            reply("504 Not with %s", stack_name());
            return;
        }
    }
    reply("200 So be it");
}

static void list(int names_only) {
    char listing[1024];
    int size = 0;
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        size += names_only ? sprintf(listing + size, "%s\r\n", SIZES[i])
                           : sprintf(listing + size, "-rw-r--r-- 1 ftp ftp %s Jan 01 00:00 %s\r\n", SIZES[i], SIZES[i]);
    send_data(listing, (size_t)size);
}

static int file_size(const char *name, size_t *size) {
    char *end;
    *size = strtoul(name, &end, 10);
    return isdigit((unsigned char)*name) && !*end && *size <= BIGGEST;
}

static void retrieve(const char *name, int size_only) {
    size_t size;
    if (!file_size(name, &size)) reply("550 Files are called by their size");
    else if (size_only) reply("213 %zu", size);
    else send_data(content, size);
}

static void obey(char *line) {
    char *argument = strchr(line, ' ');
    if (argument) *argument++ = 0;
    else argument = line + strlen(line);
    if (!strcasecmp(line, "AUTH")) {
        reply("234 TLS it is");
        if (!(control_tls = tls_accept(control))) fail("no TLS on the control connection");
    }
    else if (!strcasecmp(line, "USER")) reply("331 Password");
    else if (!strcasecmp(line, "PASS")) reply("230 Welcome");
    else if (!strcasecmp(line, "PBSZ")) reply("200 PBSZ=0");
    else if (!strcasecmp(line, "PROT")) reply("200 Protected");
    else if (!strcasecmp(line, "TYPE")) reply("200 Type is set");
    else if (!strcasecmp(line, "NOOP")) reply("200 Nothing done");
    else if (!strcasecmp(line, "SYST")) reply("215 UNIX Type: L8");
    else if (!strcasecmp(line, "PWD")) reply("257 \"/\"");
    else if (!strcasecmp(line, "FEAT")) reply("211-Features\r\n EPSV\r\n SIZE\r\n211 End");
    else if (!strcasecmp(line, "EPSV")) listen_for_data(1);
    else if (!strcasecmp(line, "PASV")) listen_for_data(0);
    else if (!strcasecmp(line, "SITE")) site(argument);
    else if (!strcasecmp(line, "SIZE")) retrieve(argument, 1);
    else if (!strcasecmp(line, "RETR")) retrieve(argument, 0);
    else if (!strcasecmp(line, "LIST")) list(0);
    else if (!strcasecmp(line, "NLST")) list(1);
    else if (!strcasecmp(line, "STOR")) receive_data();
    else if (!strcasecmp(line, "ABOR")) reply("226 Nothing to abort");
    else if (!strcasecmp(line, "QUIT")) {
        reply("221 Bye");
        tls_bye(control_tls);
        _exit(0);
    }
    else reply("502 Not here");
}

static void serve(int socket_) {
    char line[LINE];
    int at_once = 1;
    control = socket_;
    setsockopt(control, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    play = BY_THE_BOOK;
    upload = malloc(BIGGEST + 2 * CHUNK);
    if (!upload) fail("out of memory");
    reply("220 %s", stack_name());
    for (;;) {
        read_line(line);
        obey(line);
    }
}

/* --- the process --- */

static void make_content(void) {
    content = malloc(BIGGEST + 1);
    if (!content) fail("out of memory");
    for (size_t at = 0; at < BIGGEST; at += 8) sprintf(content + at, "%07zu\n", at / 8);
}

int main(int count, char **arguments) {
    if (count != 3) fail("CERTIFICATE KEY");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    make_content();
    struct pollfd waiting[2];
    unsigned short ports[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        waiting[i] = (struct pollfd){.fd = stack_speaks(12 + i) ? listen_on_loopback(&ports[i]) : -1, .events = POLLIN};
    say("ready %u %u %s", ports[0], ports[1], stack_name());
    for (;;) {
        if (poll(waiting, 2, -1) < 0 && errno != EINTR) fail("poll");
        for (int i = 0; i < 2; i++) {
            if (!(waiting[i].revents & POLLIN)) continue;
            int session = accept(waiting[i].fd, NULL, NULL);
            if (session >= 0 && fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                version = 12 + i;
                stack_begin(arguments[1], arguments[2], version);
                serve(session);
            }
            close(session);
        }
    }
}
