package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// nodeLocks is the first key of the locks by which nodes show that they live. Locks on
// documents have one key: PostgreSQL keeps the two kinds apart.
const nodeLocks = 7001

// Lease shows that a node lives: a lock of a session of its own, which PostgreSQL gives
// free when the session ends, however the process or its machine ended.
type Lease struct {
	line *line
	conn *sql.Conn
}

// LeaseTime is how long a lease outlives the last sign of its node; one whose process was
// killed ends at once.
const LeaseTime = 10 * time.Second

// ErrLeaseTaken says that another node lives by this name.
var ErrLeaseTaken = errors.New("another node has this name")

// Lease takes the lease of a node.
func (d *DB) Lease(ctx context.Context, node string) (*Lease, error) {
	if err := d.connections.isAway(); err != nil {
		return nil, err
	}
	line, err := d.line()
	if err != nil {
		return nil, err
	}
	l := &Lease{line: line}
	var taken bool
	err = line.within(ctx, 2*connectTimeout, func(ctx context.Context) (err error) {
		if l.conn, err = line.db.Conn(ctx); err != nil {
			return err
		}
		// A machine that lost its power or its network closes no connection, and one that is
		// frozen keeps it: the server ends a session that is silent for so long.
		// https://www.postgresql.org/docs/15/runtime-config-client.html
		if _, err = l.conn.ExecContext(ctx, fmt.Sprintf(`set idle_session_timeout = %d`, LeaseTime.Milliseconds())); err != nil {
			return err
		}
		return l.conn.QueryRowContext(ctx, `select pg_try_advisory_lock($1, hashtext($2))`, nodeLocks, node).Scan(&taken)
	})
	if err == nil && !taken {
		err = ErrLeaseTaken
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Check returns an error when the lease is lost, or cannot be seen to be held within a
// time: others may have taken over this node's jobs then.
func (l *Lease) Check(ctx context.Context, within time.Duration) error {
	return l.line.within(ctx, within, func(ctx context.Context) error {
		_, err := l.conn.ExecContext(ctx, `select 1`)
		return err
	})
}

// Close gives the lease back, with the session that holds it.
func (l *Lease) Close() {
	l.line.close()
	if l.conn != nil {
		l.conn.Close()
	}
}

// NodesWithoutLease are the nodes that have jobs running and show no life.
func (d *DB) NodesWithoutLease(ctx context.Context) (nodes []string, err error) {
	err = d.db.SelectContext(ctx, &nodes, `select distinct attempted_by[array_upper(attempted_by, 1)] from `+jobs+` as job where state = 'running' and `+withoutLease)
	return nodes, err
}

// withoutLease is true of jobs whose node holds no lock. The keys of a lock are 32 bits
// without a sign in pg_locks (https://www.postgresql.org/docs/15/view-pg-locks.html).
var withoutLease = fmt.Sprintf(`not exists (select 1 from pg_locks as lock
	where lock.locktype = 'advisory' and lock.granted and lock.objsubid = 2 and lock.classid = %d
		and lock.database = (select oid from pg_database where datname = current_database())
		and lock.objid = (hashtext(attempted_by[array_upper(attempted_by, 1)])::bigint & 4294967295)::oid)`, nodeLocks)

// ReleaseJobsOf makes the running jobs of nodes that show no life available again, and
// tells how many there were.
func (d *DB) ReleaseJobsOf(ctx context.Context, nodes []string) (released int64, err error) {
	result, err := d.db.ExecContext(ctx, `update `+jobs+` as job set state = 'available', scheduled_at = now(), errors = array_append(errors, jsonb_build_object(
			'at', now(), 'attempt', attempt, 'error', 'the node ' || attempted_by[array_upper(attempted_by, 1)] || ' is gone', 'trace', ''))
		where state = 'running' and attempted_by[array_upper(attempted_by, 1)] = any($1) and `+withoutLease, pq.Array(nodes))
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// JobsOfOthers are those among some running jobs that another node has taken over.
// They stay what they are until the end of the transaction.
func (t *Tx) JobsOfOthers(ctx context.Context, node string, ids []int64) (others []int64, err error) {
	err = t.tx.SelectContext(ctx, &others, `select id from `+jobs+`
		where id = any($1) and state = 'running' and attempted_by[array_upper(attempted_by, 1)] <> $2 for update`, pq.Array(ids), node)
	return others, err
}

// ReleaseJobs makes the running jobs of a node available again, or those of all nodes if
// it is "", and tells how many there were. It is for a node that does nothing yet, and for
// one that is alone: what runs is left over.
func (d *DB) ReleaseJobs(ctx context.Context, node string) (released int64, err error) {
	result, err := d.db.ExecContext(ctx, `update `+jobs+` set state = 'available', scheduled_at = now()
		where state = 'running' and $1 in ('', attempted_by[array_upper(attempted_by, 1)])`, node)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
