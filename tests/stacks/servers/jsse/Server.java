import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;

/**
 * A small FTPS server on JSSE: see ../README.md for what all of them do.
 *
 * <p>{@code startHandshake} on a connection that stands is JSSE's one way to have it do something: with TLS 1.2 it asks for
 * a new handshake, with TLS 1.3 it sends a KeyUpdate that requests the peer's. It does not wait for an answer, which only
 * a read sees; so a sender that does such a deed has a thread that reads.
 */
final class Server {
    static final String NAME = "JSSE " + Runtime.version();
    static final int CHUNK = 16384;
    static final int BIGGEST = 8 << 20;
    static final int PATIENCE_MS = 30_000;
    static final List<String> SIZES = List.of("0", "1", "16384", "8388608");
    static final byte[] CONTENT = content();
    static final ExecutorService THREADS = Executors.newCachedThreadPool();

    static byte[] content() {
        byte[] made = new byte[BIGGEST];
        for (int line = 0; line < BIGGEST / 8; line++) {
            int number = line;
            for (int at = 6; at >= 0; at--, number /= 10) made[line * 8 + at] = (byte) ('0' + number % 10);
            made[line * 8 + 7] = '\n';
        }
        return made;
    }

    static synchronized void say(String line) {
        System.out.print(line + "\n");
        System.out.flush();
    }

    /** What SITE has said. */
    static final class Play {
        String deed = "", end = "plain";
        long at = 0, stop = Long.MAX_VALUE;
        int times = 1, slow = 0, reply = 0;
        boolean reuse = false;
    }

    /** TLS over a socket; `raw` is for ends that are none of TLS's. */
    static final class Secured {
        final Socket raw;
        final SSLSocket tls;
        final Semaphore negotiated = new Semaphore(0);

        Secured(Socket raw, SSLContext context, String version) throws IOException {
            this.raw = raw;
            tls = (SSLSocket) context.getSocketFactory().createSocket(raw, null, raw.getPort(), true);
            tls.setUseClientMode(false);
            tls.setEnabledProtocols(new String[] {version});
            tls.startHandshake();
            tls.addHandshakeCompletedListener(
                    event -> {
                        if (!version.equals("TLSv1.2")) return;
                        say("did renegotiate");
                        negotiated.release();
                    });
        }

        /** Does it; one that is done later is waited for only where the reading is another's. */
        void act(String deed, boolean wait) throws Exception {
            tls.startHandshake();
            if (deed.equals("request")) say("did request");
            else if (wait && !negotiated.tryAcquire(PATIENCE_MS, TimeUnit.MILLISECONDS))
                throw new IOException("no renegotiation");
        }
    }

    static final class Session implements Runnable {
        final Socket socket;
        final String version;
        final SSLContext context;
        Secured control;
        ServerSocket passive;
        InputStream in;
        OutputStream out;
        Play play = new Play();

        Session(Socket socket, String version) throws Exception {
            this.socket = socket;
            this.version = version;
            // One of its own: no other session's ticket is worth anything.
            context = SSLContext.getInstance("TLS");
            context.init(keys, null, null);
            in = socket.getInputStream();
            out = socket.getOutputStream();
            socket.setTcpNoDelay(true);
        }

        void reply(String line) throws IOException {
            out.write((line + "\r\n").getBytes(StandardCharsets.ISO_8859_1));
            out.flush();
        }

        String readLine() throws IOException {
            StringBuilder line = new StringBuilder();
            for (int letter; (letter = in.read()) != '\n'; ) {
                if (letter < 0) return null;
                if (letter != '\r') line.append((char) letter);
            }
            return line.toString();
        }

        void listen(boolean extended) throws IOException {
            if (passive != null) passive.close();
            passive = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
            passive.setSoTimeout(PATIENCE_MS);
            int port = passive.getLocalPort();
            if (extended) reply("229 Entering Extended Passive Mode (|||" + port + "|)");
            else reply("227 Entering Passive Mode (127,0,0,1," + (port >> 8) + "," + (port & 255) + ")");
        }

        Secured openData() throws IOException {
            if (passive == null) {
                reply("425 Say EPSV or PASV first");
                return null;
            }
            reply("150 Here it comes");
            Secured data;
            try (ServerSocket listener = passive) {
                passive = null;
                data = new Secured(listener.accept(), context, version);
            } catch (IOException error) {
                System.err.println(error);
                reply("425 No data connection");
                return null;
            }
            // A resumed session has the time of the one that it resumes; a new one cannot, as a login lies between.
            boolean resumed = data.tls.getSession().getCreationTime() == control.tls.getSession().getCreationTime();
            say("data resumed=" + (resumed ? "yes" : "no"));
            if (play.reuse && !resumed) {
                data.tls.close();
                reply("522 The TLS session of the control connection was not resumed");
                return null;
            }
            return data;
        }

        /** Reads; how that ended, `stopped` where it did not within `stop` bytes. */
        String receive(Secured data, OutputStream into, long stop, boolean deeds) {
            try {
                InputStream from = data.tls.getInputStream();
                byte[] buffer = new byte[CHUNK];
                int done = 0;
                for (long stored = 0; stored < stop; ) {
                    if (deeds && isTime(stored, done)) {
                        done++;
                        data.act(play.deed, false);
                        continue;
                    }
                    if (deeds && play.slow > 0) Thread.sleep(play.slow);
                    int got = from.read(buffer);
                    if (got < 0) return "close_notify";
                    into.write(buffer, 0, got);
                    stored += got;
                }
                return "stopped";
            } catch (Exception error) {
                System.err.println(error);
                return String.valueOf(error.getMessage()).contains("close_notify") ? "fin" : "broken";
            }
        }

        String drain(Secured data) {
            return receive(data, OutputStream.nullOutputStream(), Long.MAX_VALUE, false);
        }

        boolean isTime(long moved, int done) {
            return !play.deed.isEmpty() && done < play.times && moved >= play.at * (done + 1);
        }

        /** Ends it as `play` wants it; {@code peer}: how the peer ends it, where that is known or being read already. */
        void close(Secured data, CompletableFuture<String> peer) {
            try {
                switch (play.end) {
                    case "plain" -> data.tls.close();
                    case "wait" -> {
                        boolean ended = peer != null && "close_notify".equals(peer.getNow(null));
                        if (!ended) data.tls.shutdownOutput();
                        say("peer " + (peer == null ? drain(data) : peer.join()));
                        data.tls.close();
                    }
                    case "reset" -> {
                        data.raw.setSoLinger(true, 0);
                        data.raw.close();
                    }
                    default -> data.raw.close();
                }
            } catch (IOException error) {
                System.err.println(error);
            }
        }

        void send(byte[] body, int size) throws IOException {
            Secured data = openData();
            if (data == null) return;
            CompletableFuture<String> peer =
                    play.deed.isEmpty() ? null : CompletableFuture.supplyAsync(() -> drain(data), THREADS);
            int sent = 0, done = 0;
            boolean broken = false;
            try {
                OutputStream to = data.tls.getOutputStream();
                while (true) {
                    if (isTime(sent, done)) {
                        done++;
                        data.act(play.deed, true);
                        continue;
                    }
                    if (sent == size || sent >= play.stop) break;
                    int part = (int) Math.min(CHUNK, Math.min(size - sent, play.stop - sent));
                    to.write(body, sent, part);
                    sent += part;
                }
            } catch (Exception error) {
                System.err.println(error);
                broken = true;
            }
            say("sent " + sent + (broken ? " broken" : ""));
            close(data, peer);
            reply(verdict(!broken) + " bytes=" + sent);
        }

        void store() throws Exception {
            Secured data = openData();
            if (data == null) return;
            ByteArrayOutputStream stored = new ByteArrayOutputStream();
            String end = receive(data, stored, Math.min(play.stop, BIGGEST + CHUNK), true);
            say("stored " + stored.size() + " " + end);
            String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(stored.toByteArray()));
            close(data, end.equals("stopped") ? null : CompletableFuture.completedFuture(end));
            boolean whole = end.equals("close_notify") || end.equals("stopped");
            reply(verdict(whole) + " bytes=" + stored.size() + " sha256=" + digest);
        }

        int verdict(boolean whole) {
            return play.reply != 0 ? play.reply : whole ? 226 : 426;
        }

        boolean can(String deed) {
            return deed.equals(version.equals("TLSv1.2") ? "renegotiate" : "request");
        }

        void site(String argument) throws Exception {
            if (argument.startsWith("NOW ")) {
                String deed = argument.substring(4);
                if (!can(deed)) {
                    reply("504 Not with " + NAME);
                    return;
                }
                control.act(deed, false); // the answer comes before the next command
                reply("200 Done");
                return;
            }
            play = new Play();
            for (String word : argument.isBlank() ? new String[0] : argument.split(" ")) {
                String value = word.substring(word.indexOf('=') + 1);
                switch (word.substring(0, word.indexOf('='))) {
                    case "do" -> play.deed = value;
                    case "at" -> play.at = Long.parseLong(value);
                    case "times" -> play.times = Integer.parseInt(value);
                    case "stop" -> play.stop = Long.parseLong(value);
                    case "slow" -> play.slow = Integer.parseInt(value);
                    case "reply" -> play.reply = Integer.parseInt(value);
                    case "reuse" -> play.reuse = value.equals("required");
                    case "end" -> play.end = value;
                    default -> {
                        reply("501 What is " + word);
                        return;
                    }
                }
            }
            if (play.deed.isEmpty() || can(play.deed)) reply("200 So be it");
            else reply("504 Not with " + NAME);
        }

        void list(String pattern) throws IOException {
            StringBuilder listing = new StringBuilder();
            for (String size : SIZES) listing.append(pattern.replace("SIZE", size)).append("\r\n");
            byte[] body = listing.toString().getBytes(StandardCharsets.ISO_8859_1);
            send(body, body.length);
        }

        void retrieve(String path, boolean onlySize) throws IOException {
            if (!path.matches("\\d{1,7}") || Integer.parseInt(path) > BIGGEST) reply("550 Files are called by their size");
            else if (onlySize) reply("213 " + path);
            else send(CONTENT, Integer.parseInt(path));
        }

        boolean obey(String line) throws Exception {
            String[] words = line.split(" ", 2);
            String argument = words.length > 1 ? words[1] : "";
            switch (words[0].toUpperCase()) {
                case "AUTH" -> {
                    reply("234 TLS it is");
                    control = new Secured(socket, context, version);
                    in = control.tls.getInputStream();
                    out = control.tls.getOutputStream();
                }
                case "USER" -> reply("331 Password");
                case "PASS" -> reply("230 Welcome");
                case "PBSZ" -> reply("200 PBSZ=0");
                case "PROT" -> reply("200 Protected");
                case "TYPE" -> reply("200 Type is set");
                case "NOOP" -> reply("200 Nothing done");
                case "SYST" -> reply("215 UNIX Type: L8");
                case "PWD" -> reply("257 \"/\"");
                case "FEAT" -> reply("211-Features\r\n EPSV\r\n SIZE\r\n211 End");
                case "EPSV" -> listen(true);
                case "PASV" -> listen(false);
                case "SITE" -> site(argument);
                case "SIZE" -> retrieve(argument, true);
                case "RETR" -> retrieve(argument, false);
                case "LIST" -> list("-rw-r--r-- 1 ftp ftp SIZE Jan 01 00:00 SIZE");
                case "NLST" -> list("SIZE");
                case "STOR" -> store();
                case "ABOR" -> reply("226 Nothing to abort");
                case "QUIT" -> {
                    reply("221 Bye");
                    return false;
                }
                default -> reply("502 Not here");
            }
            return true;
        }

        @Override
        public void run() {
            try (socket) {
                reply("220 " + NAME);
                for (String line; (line = readLine()) != null && obey(line); ) continue;
                if (control != null) control.tls.close();
                if (passive != null) passive.close();
            } catch (Exception error) {
                System.err.println(error);
            }
        }
    }

    static KeyManager[] keys;

    static KeyManager[] load(String certificateFile, String keyFile) throws Exception {
        Certificate certificate;
        try (InputStream from = Files.newInputStream(Path.of(certificateFile))) {
            certificate = CertificateFactory.getInstance("X.509").generateCertificate(from);
        }
        String pem = Files.readString(Path.of(keyFile)).replaceAll("-----[^-]+-----|\\s", "");
        PrivateKey key =
                KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("server", key, new char[0], new Certificate[] {certificate});
        KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
        factory.init(store, new char[0]);
        return factory.getKeyManagers();
    }

    static int serve(String version) throws IOException {
        ServerSocket listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        THREADS.submit(
                () -> {
                    while (true) THREADS.submit(new Session(listener.accept(), version));
                });
        return listener.getLocalPort();
    }

    public static void main(String[] arguments) throws Exception {
        keys = load(arguments[0], arguments[1]);
        say("ready " + serve("TLSv1.2") + " " + serve("TLSv1.3") + " " + NAME);
    }
}
