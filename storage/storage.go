// Package storage holds every SQL statement and every transaction. Reads are
// methods of DB, changes are methods of Tx: a commit is the only way in which one
// part of the program hands work to another.
package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"platen"
	"platen/migrations"
)

// ErrNotFound says that there is no such row in the scope that was asked: another
// account's row is not found either (R1.3).
var ErrNotFound = errors.New("not found")

// Scope is what a caller may see: one account, and of it perhaps the test
// documents only (R1.2).
type Scope struct {
	AccountID string
	TestOnly  bool
}

// DB is the database.
type DB struct {
	db          *sqlx.DB
	connections *connections // of db and of listeners
	dsn         platen.Secret
}

// Open connects to the database at dsn, a lib/pq connection string or URL, and
// waits for at most ten seconds until it answers. maxConns bounds the pool.
func Open(ctx context.Context, dsn string, maxConns int) (*DB, error) {
	dsn, err := withParameters(dsn)
	if err != nil {
		return nil, err
	}
	db, connections, err := pool(dsn, maxConns)
	if err != nil {
		return nil, fmt.Errorf("the database address is not valid: %w", withoutSecrets(err))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = db.PingContext(ctx)
	for ; err != nil && Unavailable(err) && ctx.Err() == nil; err = db.PingContext(ctx) {
		select { // it may be starting, as this node is
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err != nil {
		db.Close()
		if errors.Is(err, pq.ErrSSLNotSupported) {
			return nil, errors.New("the database speaks no TLS: add sslmode=disable to its address if the network between is trusted")
		}
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	var version int
	if err := db.GetContext(ctx, &version, `select current_setting('server_version_num')::int`); err != nil {
		db.Close()
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	if version < minVersion {
		db.Close()
		return nil, fmt.Errorf("the database is PostgreSQL %d: %d or newer is needed", version/10000, minVersion/10000)
	}
	return &DB{db: db, connections: connections, dsn: platen.NewSecret(dsn)}, nil
}

// minVersion has idle_session_timeout, by which a node that went without a word loses its
// lease. https://www.postgresql.org/docs/release/14.0/
const minVersion = 140000

// parameters are what every connection needs.
var parameters = [][2]string{
	{"timezone", "UTC"}, // instants travel as UTC, whatever the server's time zone is
	{"application_name", "platen"},
	{"connect_timeout", fmt.Sprint(connectTimeout.Seconds())},
	// The server ends the sessions of a node that went without a word, and gives free what
	// they have locked (https://www.postgresql.org/docs/15/runtime-config-connection.html).
	{"tcp_keepalives_idle", "5"},
	{"tcp_keepalives_interval", "2"},
	{"tcp_keepalives_count", "3"},
	{"tcp_user_timeout", fmt.Sprint(LeaseTime.Milliseconds())},
	{"idle_in_transaction_session_timeout", "60000"},
}

// withParameters adds them.
func withParameters(dsn string) (string, error) {
	if !strings.Contains(dsn, "://") {
		for _, p := range parameters {
			dsn += " " + p[0] + "=" + p[1]
		}
		return dsn, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("the database address is not valid: %w", withoutSecrets(err))
	}
	query := u.Query()
	for _, p := range parameters {
		query.Set(p[0], p[1])
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// withoutSecrets drops the address that url.Error and its like repeat: it holds a password.
func withoutSecrets(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return errors.New("it cannot be parsed")
}

// Migrate brings the tables to the present version; several nodes may call it at once.
func (d *DB) Migrate(ctx context.Context) error { return migrations.Up(ctx, d.db.DB) }

// Close ends all connections.
func (d *DB) Close() error { return d.db.Close() }

// Ping tells whether the database answers.
func (d *DB) Ping(ctx context.Context) error { return d.db.PingContext(ctx) }

// SQL is the pool for the job engine, which has statements of its own.
func (d *DB) SQL() *sql.DB { return d.db.DB }

// Tx is a transaction.
type Tx struct{ tx *sqlx.Tx }

// SQL is the transaction for the job engine, so that a job is inserted with the
// row that needs it.
func (t *Tx) SQL() *sql.Tx { return t.tx.Tx }

// InTx runs f in a transaction, which is committed when f returns nil and rolled
// back otherwise.
func (d *DB) InTx(ctx context.Context, f func(*Tx) error) error {
	tx, err := d.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := f(&Tx{tx}); err != nil {
		return err
	}
	return tx.Commit()
}

// Unavailable tells whether an error means that the database cannot be reached or
// is going down, rather than that a statement is wrong.
func Unavailable(err error) bool {
	var pqErr *pq.Error
	if errors.As(err, &pqErr) {
		// https://www.postgresql.org/docs/15/errcodes-appendix.html: connection
		// exceptions, too many connections, operator intervention.
		switch pqErr.Code.Class() {
		case "08", "57":
			return true
		}
		return pqErr.Code == "53300"
	}
	var netErr *net.OpError
	if errors.As(err, new(*AwayError)) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	return errors.As(err, &netErr) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, syscall.ECONNREFUSED)
}

// notFound turns the driver's word for no row into ours.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// one picks a row out of those that were read by id; when it is not among them, it
// is not found.
func one[T any](rows map[string]*T, err error) func(id string) (*T, error) {
	return func(id string) (*T, error) {
		if err == nil && rows[id] == nil {
			err = ErrNotFound
		}
		return rows[id], err
	}
}
