// A small FTPS server on Go's crypto/tls: see ../README.md for what all of them do.
//
// crypto/tls can neither renegotiate as a server, nor begin a KeyUpdate, nor send a ticket when told to; so it does no deed.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	chunk    = 16384
	biggest  = 8 << 20
	patience = 30 * time.Second
)

var (
	name        = "Go crypto/tls " + runtime.Version()
	sizes       = []string{"0", "1", "16384", "8388608"}
	content     []byte
	certificate tls.Certificate
)

func say(format string, arguments ...any) {
	os.Stdout.WriteString(fmt.Sprintf(format, arguments...) + "\n")
}

// watched is a connection that knows whether its peer has said FIN: crypto/tls takes one between two records for a
// close_notify.
type watched struct {
	net.Conn
	finished bool
}

func (conn *watched) Read(buffer []byte) (int, error) {
	got, err := conn.Conn.Read(buffer)
	if err == io.EOF {
		conn.finished = true
	}
	return got, err
}

type play struct {
	reuse       bool
	at, stop    int
	slow, reply int
	end         string
}

var byTheBook = play{stop: 1 << 62, end: "plain"}

type session struct {
	control net.Conn
	lines   *bufio.Reader
	config  *tls.Config
	passive net.Listener
	play    play
}

func (s *session) reply(format string, arguments ...any) {
	fmt.Fprintf(s.control, format+"\r\n", arguments...)
}

func (s *session) listen(extended bool) {
	if s.passive != nil {
		s.passive.Close()
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s.passive = listener
	port := listener.Addr().(*net.TCPAddr).Port
	if extended {
		s.reply("229 Entering Extended Passive Mode (|||%d|)", port)
	} else {
		s.reply("227 Entering Passive Mode (127,0,0,1,%d,%d)", port>>8, port&255)
	}
}

// data is a data connection: TLS over what is watched over the socket.
type data struct {
	*tls.Conn
	raw *watched
}

func (s *session) openData() *data {
	listener := s.passive
	if listener == nil {
		s.reply("425 Say EPSV or PASV first")
		return nil
	}
	s.passive = nil
	s.reply("150 Here it comes")
	listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	socket, err := listener.Accept()
	listener.Close()
	if err != nil {
		s.reply("425 No data connection")
		return nil
	}
	raw := &watched{Conn: socket}
	d := &data{tls.Server(raw, s.config), raw}
	if err := d.Handshake(); err != nil {
		log.Print(err)
		socket.Close()
		s.reply("425 No TLS on the data connection")
		return nil
	}
	resumed := d.ConnectionState().DidResume
	say("data resumed=%s", map[bool]string{true: "yes", false: "no"}[resumed])
	if s.play.reuse && !resumed {
		d.Close()
		s.reply("522 The TLS session of the control connection was not resumed")
		return nil
	}
	return d
}

func (d *data) howItEnded(err error) string {
	switch {
	case err == io.EOF && !d.raw.finished:
		return "close_notify"
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return "fin"
	}
	log.Print(err)
	return "broken"
}

func (s *session) closeData(d *data) {
	switch s.play.end {
	case "plain":
		d.Close()
	case "wait":
		d.CloseWrite()
		_, err := io.Copy(io.Discard, d.Conn)
		if err == nil {
			err = io.EOF
		}
		say("peer %s", d.howItEnded(err))
		d.Close()
	case "reset":
		d.raw.Conn.(*net.TCPConn).SetLinger(0)
		d.raw.Close()
	default:
		d.raw.Close()
	}
}

func (s *session) send(body []byte) {
	d := s.openData()
	if d == nil {
		return
	}
	sent, broken := 0, ""
	for sent < len(body) && sent < s.play.stop {
		part := min(chunk, min(len(body)-sent, s.play.stop-sent))
		if _, err := d.Write(body[sent : sent+part]); err != nil {
			log.Print(err)
			broken = " broken"
			break
		}
		sent += part
	}
	say("sent %d%s", sent, broken)
	s.closeData(d)
	s.reply("%d bytes=%d", s.verdict(broken == ""), sent)
}

func (s *session) receive() {
	d := s.openData()
	if d == nil {
		return
	}
	var stored bytes.Buffer
	buffer := make([]byte, chunk)
	end := "stopped"
	for stored.Len() < s.play.stop && stored.Len() < biggest+chunk {
		time.Sleep(time.Duration(s.play.slow) * time.Millisecond)
		got, err := d.Read(buffer)
		stored.Write(buffer[:got])
		if err != nil {
			end = d.howItEnded(err)
			break
		}
	}
	say("stored %d %s", stored.Len(), end)
	s.closeData(d)
	whole := end == "close_notify" || end == "stopped"
	s.reply("%d bytes=%d sha256=%x", s.verdict(whole), stored.Len(), sha256.Sum256(stored.Bytes()))
}

func (s *session) verdict(whole bool) int {
	if s.play.reply != 0 {
		return s.play.reply
	}
	if whole {
		return 226
	}
	return 426
}

func (s *session) site(argument string) {
	s.play = byTheBook
	for _, word := range strings.Fields(argument) {
		key, value, _ := strings.Cut(word, "=")
		number, _ := strconv.Atoi(value)
		switch key {
		case "NOW", "do":
			s.reply("504 Not with %s", name)
			return
		case "at", "times":
		case "stop":
			s.play.stop = number
		case "slow":
			s.play.slow = number
		case "reply":
			s.play.reply = number
		case "reuse":
			s.play.reuse = value == "required"
		case "end":
			s.play.end = value
		default:
			s.reply("501 What is %s", key)
			return
		}
	}
	s.reply("200 So be it")
}

func (s *session) list(pattern string) {
	listing := ""
	for _, size := range sizes {
		listing += strings.ReplaceAll(pattern, "SIZE", size) + "\r\n"
	}
	s.send([]byte(listing))
}

func (s *session) retrieve(path string, act func(size int)) {
	size, err := strconv.Atoi(path)
	if err != nil || size < 0 || size > biggest {
		s.reply("550 Files are called by their size")
		return
	}
	act(size)
}

func (s *session) obey(verb, argument string) bool {
	switch strings.ToUpper(verb) {
	case "AUTH":
		s.reply("234 TLS it is")
		secured := tls.Server(s.control, s.config)
		if err := secured.Handshake(); err != nil {
			log.Print(err)
			return false
		}
		s.control = secured
		s.lines = bufio.NewReader(secured)
	case "USER":
		s.reply("331 Password")
	case "PASS":
		s.reply("230 Welcome")
	case "PBSZ":
		s.reply("200 PBSZ=0")
	case "PROT":
		s.reply("200 Protected")
	case "TYPE":
		s.reply("200 Type is set")
	case "NOOP":
		s.reply("200 Nothing done")
	case "SYST":
		s.reply("215 UNIX Type: L8")
	case "PWD":
		s.reply("257 \"/\"")
	case "FEAT":
		s.reply("211-Features\r\n EPSV\r\n SIZE\r\n211 End")
	case "EPSV":
		s.listen(true)
	case "PASV":
		s.listen(false)
	case "SITE":
		s.site(argument)
	case "SIZE":
		s.retrieve(argument, func(size int) { s.reply("213 %d", size) })
	case "RETR":
		s.retrieve(argument, func(size int) { s.send(content[:size]) })
	case "LIST":
		s.list("-rw-r--r-- 1 ftp ftp SIZE Jan 01 00:00 SIZE")
	case "NLST":
		s.list("SIZE")
	case "STOR":
		s.receive()
	case "ABOR":
		s.reply("226 Nothing to abort")
	case "QUIT":
		s.reply("221 Bye")
		return false
	default:
		s.reply("502 Not here")
	}
	return true
}

func serve(control net.Conn, version uint16) {
	// A configuration of its own has ticket keys of its own: no other session's ticket is worth anything.
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: version, MaxVersion: version}
	s := &session{control: control, lines: bufio.NewReader(control), config: config, play: byTheBook}
	s.reply("220 %s", name)
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			break
		}
		verb, argument, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if !s.obey(verb, argument) {
			break
		}
	}
	s.control.Close()
	if s.passive != nil {
		s.passive.Close()
	}
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func main() {
	var err error
	if certificate, err = tls.LoadX509KeyPair(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
	var made bytes.Buffer
	for line := 0; line < biggest/8; line++ {
		fmt.Fprintf(&made, "%07d\n", line)
	}
	content = made.Bytes()
	ports := []int{}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		version := version
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
		go func() {
			for {
				control, err := listener.Accept()
				if err != nil {
					log.Fatal(err)
				}
				go serve(control, version)
			}
		}()
	}
	say("ready %d %d %s", ports[0], ports[1], name)
	select {}
}
