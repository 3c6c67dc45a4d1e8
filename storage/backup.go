package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"platen/migrations"
)

// Snapshot is the database as it is at one moment, for as long as it is open. It has no
// number of a transaction, so no feed waits for it.
type Snapshot struct {
	tx *sqlx.Tx
	// ID is how another session joins in: pg_dump, with --snapshot.
	ID string
}

// Snapshot takes one. It has to be closed.
func (d *DB) Snapshot(ctx context.Context) (*Snapshot, error) {
	tx, err := d.db.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	s := &Snapshot{tx: tx}
	if err := tx.GetContext(ctx, &s.ID, `select pg_export_snapshot()`); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends it.
func (s *Snapshot) Close() { _ = s.tx.Rollback() }

// Copy is one of Platen's own copies, as the row that names it describes it.
type Copy struct {
	Key         string `db:"blob_key" json:"key"`
	ContentType string `db:"content_type" json:"contentType"`
	ByteSize    int64  `db:"byte_size" json:"byteSize"`
	SHA256      string `db:"sha256" json:"sha256"`
}

// Copies calls f for each copy that the snapshot names, until f fails.
func (s *Snapshot) Copies(ctx context.Context, f func(Copy) error) error {
	rows, err := s.tx.QueryxContext(ctx, `select blob_key, content_type, byte_size, sha256 from submissions where blob_key is not null
		union all select blob_key, content_type, byte_size, sha256 from combined_submissions where blob_key is not null
		union all select blob_key, content_type, byte_size, sha256 from uploads where blob_key is not null`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c Copy
		if err := rows.StructScan(&c); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Installation says what a database is.
type Installation struct {
	Server   string // PostgreSQL's version, such as 15.18
	Major    int    // of it
	Tables   bool   // there are tables in it, whosever, besides those of extensions
	Schema   int64  // the version of Platen's tables, 0 without
	KeyCheck []byte // the value that proves the secret key; nil where no node has started
}

// Installation looks at the database and changes nothing.
func (d *DB) Installation(ctx context.Context) (i Installation, err error) {
	var number int
	if err := d.db.GetContext(ctx, &number, `select current_setting('server_version_num')::int`); err != nil {
		return i, err
	}
	i.Major = number / 10000
	i.Server = fmt.Sprintf("%d.%d", i.Major, number%10000)
	// What initdb makes is in schemas of its own; pg_toast is one of them.
	if err := d.db.GetContext(ctx, &i.Tables, `select exists (select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
		where nspname <> 'information_schema' and nspname not like 'pg\_%' and not exists (select from pg_depend
			where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'))`); err != nil {
		return i, err
	}
	err = d.db.GetContext(ctx, &i.Schema, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`)
	if none := (*pq.Error)(nil); errors.As(err, &none) && none.Code == "42P01" { // undefined_table
		return i, nil
	}
	if err != nil {
		return i, err
	}
	err = d.db.GetContext(ctx, &i.KeyCheck, `select key_check from installation`)
	return i, err
}

// SchemaVersion is the version of the tables that this release works with.
func SchemaVersion() int64 { return migrations.Version() }

// ToolEnvironment says to PostgreSQL's own programs which database this is, by the
// variables of https://www.postgresql.org/docs/15/libpq-envars.html: what is among a
// program's arguments, a password too, everybody on the machine can read.
func (d *DB) ToolEnvironment() ([]string, error) {
	c, err := pq.NewConfig(d.dsn.Reveal())
	if err != nil {
		return nil, fmt.Errorf("the database address is not valid: %w", withoutSecrets(err))
	}
	hosts, ports, addresses := []string{c.Host}, []string{fmt.Sprint(c.Port)}, []string{}
	if c.Hostaddr.IsValid() {
		addresses = append(addresses, c.Hostaddr.String())
	}
	for _, more := range c.Multi {
		hosts, ports = append(hosts, more.Host), append(ports, fmt.Sprint(more.Port))
		if more.Hostaddr.IsValid() {
			addresses = append(addresses, more.Hostaddr.String())
		}
	}
	if c.SSLMode == "" {
		c.SSLMode = pq.SSLModeRequire // lib/pq's default is not that of PostgreSQL's programs
	}
	home, _ := os.UserHomeDir() // where certificates are looked for; not everybody has one
	var env []string
	for _, v := range [][2]string{{"HOME", home}, {"PGHOST", strings.Join(hosts, ",")}, {"PGHOSTADDR", strings.Join(addresses, ",")}, {"PGPORT", strings.Join(ports, ",")},
		{"PGDATABASE", c.Database}, {"PGUSER", c.User}, {"PGPASSWORD", c.Password}, {"PGPASSFILE", c.Passfile}, {"PGOPTIONS", c.Options},
		{"PGSSLMODE", string(c.SSLMode)}, {"PGSSLCERT", c.SSLCert}, {"PGSSLKEY", c.SSLKey}, {"PGSSLROOTCERT", c.SSLRootCert},
		{"PGTARGETSESSIONATTRS", string(c.TargetSessionAttrs)}} {
		if v[1] != "" {
			env = append(env, v[0]+"="+v[1])
		}
	}
	return env, nil
}
