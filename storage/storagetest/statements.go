package storagetest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lib/pq"

	"platen/storage"
)

// Counted is New with a look at the wire: statements returns what was executed since it
// was last called, transactions' own statements included.
func Counted(t testing.TB) (db *storage.DB, statements func() []string) {
	t.Helper()
	config, err := pq.NewConfig(DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{socket: filepath.Join(config.Host, fmt.Sprintf(".s.PGSQL.%d", config.Port))}
	go w.accept(listener)
	db, err = storage.Open(t.Context(), fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable",
		listener.Addr().(*net.TCPAddr).Port, config.User, config.Database), 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		listener.Close()
	})
	return db, w.take
}

// wire passes connections on to PostgreSQL and notes the statements that they carry.
type wire struct {
	socket string
	mu     sync.Mutex
	seen   []string
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func (w *wire) note(statement string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, statement)
}

func (w *wire) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // the test is over
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("unix", w.socket)
			if err != nil {
				return // the client sees its connection end
			}
			go func() {
				_, _ = io.Copy(client, server)
				client.Close()
			}()
			w.watch(server, bufio.NewReader(client))
			server.Close()
		}()
	}
}

// watch passes on what a client says, until it has no more to say. See
// https://www.postgresql.org/docs/15/protocol-message-formats.html.
func (w *wire) watch(server io.Writer, client *bufio.Reader) {
	parsed, bound := map[string]string{}, ""
	for kind, first := byte(0), true; ; first = false {
		var message bytes.Buffer
		if !first { // the first message has no kind
			var err error
			if kind, err = client.ReadByte(); err != nil {
				return
			}
			message.WriteByte(kind)
		}
		var length [4]byte
		if _, err := io.ReadFull(client, length[:]); err != nil {
			return
		}
		message.Write(length[:])
		body := make([]byte, max(4, binary.BigEndian.Uint32(length[:]))-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return
		}
		message.Write(body)
		words := bytes.SplitN(body, []byte{0}, 3)
		switch kind {
		case 'P': // Parse: a name, a statement
			parsed[string(words[0])] = string(words[1])
		case 'B': // Bind: a portal, a name
			bound = parsed[string(words[1])]
		case 'E': // Execute
			w.note(bound)
		case 'Q': // a simple query
			w.note(string(words[0]))
		}
		if _, err := server.Write(message.Bytes()); err != nil {
			return
		}
	}
}
