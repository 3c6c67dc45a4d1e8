package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"golang.org/x/sys/unix"
)

const (
	// watchInterval and watchPatience are how often a node asks whether the database is
	// there, and how long the answer may take: together less than the five seconds
	// within which a node that cannot work has to say so.
	watchInterval = 500 * time.Millisecond
	watchPatience = 4 * time.Second
	// connectTimeout is how long it may take to open a connection.
	connectTimeout = 5 * time.Second
)

// connections are those of a pool, all of which can be cut. lib/pq reads without a
// deadline, whatever the context of a statement: when a server goes without a word (no
// power, no network, a process that is frozen), a call would wait for a quarter of an hour.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
	away error // why there are to be none
}

// AwayError says that the database cannot be reached.
type AwayError struct{ Err error }

func (e *AwayError) Error() string { return "the database does not answer: " + e.Err.Error() }
func (e *AwayError) Unwrap() error { return e.Err }

// DialContext implements pq.DialerContext.
func (c *connections) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := c.isAway(); err != nil {
		return nil, err
	}
	// A machine that is gone is found by keepalives where nothing is sent, and by the
	// limit for unacknowledged bytes where something is (tcp(7)).
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control: func(network, _ string, raw syscall.RawConn) (err error) {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			set := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(LeaseTime.Milliseconds()))
			})
			return errors.Join(set, err)
		}}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	known := &connection{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away != nil {
		conn.Close()
		return nil, c.away
	}
	c.open[known] = struct{}{}
	return known, nil
}

// Dial implements pq.Dialer.
func (c *connections) Dial(network, address string) (net.Conn, error) {
	return c.DialTimeout(network, address, connectTimeout)
}

// DialTimeout implements pq.Dialer.
func (c *connections) DialTimeout(network, address string, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return c.DialContext(ctx, network, address)
}

func (c *connections) isAway() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// cut ends all connections. away, if it is not nil, is what those hear who want a new one.
func (c *connections) cut(away error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
	for conn := range c.open {
		conn.(*connection).Conn.Close()
	}
	clear(c.open)
}

// back lets connections be opened again.
func (c *connections) back() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = nil
}

type connection struct {
	net.Conn
	of *connections
}

func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// pool opens a pool of connections to dsn. The first opens with the first statement.
func pool(dsn string, maxConns int) (*sqlx.DB, *connections, error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, nil, err
	}
	connections := &connections{open: map[net.Conn]struct{}{}}
	connector.Dialer(connections)
	modest := &modest{Connector: connector, size: maxConns}
	modest.db = sql.OpenDB(modest)
	db := sqlx.NewDb(modest.db, "postgres")
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(time.Minute) // others may need it: the server has so many for all nodes
	return db, connections, nil
}

const (
	// crowdedPause is how long a connection that the server had no room for waits until it
	// is asked for again, which it is until connectTimeout is over.
	crowdedPause = 20 * time.Millisecond
	// crowdedTime is for how long a pool then makes do with the connections it has.
	crowdedTime = 30 * time.Second
)

// modest opens connections for a pool that makes do with fewer where the server has no
// more to give: what would have needed another one waits for its turn. Three nodes that
// are busy want more than the hundred of a PostgreSQL as it is installed.
type modest struct {
	*pq.Connector
	db      *sql.DB
	size    int // of the pool, where the server has enough
	pending atomic.Int64
}

// Connect implements driver.Connector.
func (m *modest) Connect(ctx context.Context) (driver.Conn, error) {
	m.pending.Add(1)
	defer m.pending.Add(-1)
	for deadline := time.Now().Add(connectTimeout); ; {
		conn, err := m.Connector.Connect(ctx)
		switch {
		case err == nil:
			return newPrepared(undefended(conn)), nil
		case !crowded(err), time.Now().After(deadline):
			return nil, err
		}
		// Whoever comes now waits in the queue of database/sql for one that is open. Those
		// who got as far as this have their turn as well: the pool, which is too large now,
		// closes what is given back to it.
		if open := m.db.Stats().OpenConnections - int(m.pending.Load()); open > 0 {
			m.db.SetMaxOpenConns(open)
			time.AfterFunc(crowdedTime, func() { m.db.SetMaxOpenConns(m.size) })
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(crowdedPause):
		}
	}
}

// crowded tells whether the server has no connection left for us.
// https://www.postgresql.org/docs/15/errcodes-appendix.html
func crowded(err error) bool {
	var said *pq.Error
	return errors.As(err, &said) && said.Code == "53300"
}

// line is one connection apart from the pool, on which a call ends in time even if the
// server is silent: it is cut then.
type line struct {
	db          *sqlx.DB
	connections *connections
}

func (d *DB) line() (*line, error) {
	db, connections, err := pool(d.dsn.Reveal(), 1)
	if err != nil {
		return nil, err
	}
	return &line{db, connections}, nil
}

// within runs f, for as long as it may take.
func (l *line) within(ctx context.Context, patience time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it is silent for %v", patience))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.connections.cut(nil) })
	defer stop()
	err := f(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// close ends the connection at once.
func (l *line) close() {
	l.connections.cut(sql.ErrConnDone)
	l.db.Close()
}

// Watch sees to it, until ctx ends, that nobody waits for a database that is away: what
// waits for an answer is cut off, and what comes is refused with an AwayError until it
// answers again.
func (d *DB) Watch(ctx context.Context, log *slog.Logger) error {
	probe, err := d.line()
	if err != nil {
		return err
	}
	defer probe.close()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := probe.within(ctx, watchPatience, func(ctx context.Context) error {
			_, err := probe.db.ExecContext(ctx, `select 1`)
			return err
		})
		if answers(err) {
			err = nil // it is there: what it refuses to us is no reason to cut others off
		}
		was := d.connections.isAway()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && was == nil:
			log.ErrorContext(ctx, "the database is away: requests are refused until it answers, and what was going on begins anew then", "error", err)
			d.connections.cut(&AwayError{err})
		case err == nil && was != nil:
			log.InfoContext(ctx, "the database answers again")
			d.connections.back()
		}
	}
}

// answers tells of the error of a statement whether it is an answer of a database that
// works. https://www.postgresql.org/docs/15/errcodes-appendix.html: class 57 says that
// it starts or stops, 08 that the connection failed.
func answers(err error) bool {
	var said *pq.Error
	return errors.As(err, &said) && said.Code.Class() != "57" && said.Code.Class() != "08"
}
