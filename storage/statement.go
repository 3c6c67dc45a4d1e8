package storage

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/lib/pq"
)

// maxStatements of a connection stay prepared: more than the program's hot ones, River's included. What is
// sent more rarely makes room, as do the many forms that lists have.
const maxStatements = 100

// session is what database/sql asks of a connection of lib/pq.
type session interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// prepared is a connection on which a statement is parsed and planned once, and answered in one round trip
// from then on. lib/pq by itself does so for each execution, in two (`make bench`, rows a and b).
type prepared struct {
	session
	statements *simplelru.LRU[string, driver.Stmt]
}

func newPrepared(conn driver.Conn) driver.Conn {
	statements, err := simplelru.NewLRU(maxStatements, func(_ string, s driver.Stmt) { s.Close() })
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &prepared{conn.(session), statements}
}

// statement prepares a query, or finds it prepared.
func (p *prepared) statement(ctx context.Context, query string) (driver.Stmt, error) {
	if s, known := p.statements.Get(query); known {
		return s, nil
	}
	s, err := p.session.PrepareContext(ctx, query)
	if err == nil {
		p.statements.Add(query, s)
	}
	return s, err
}

// ExecContext implements driver.ExecerContext.
func (p *prepared) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 { // may be several statements, which cannot be prepared
		return p.session.ExecContext(ctx, query, args)
	}
	s, err := p.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.(driver.StmtExecContext).ExecContext(ctx, args)
	return result, outdated(err)
}

// QueryContext implements driver.QueryerContext.
func (p *prepared) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if len(args) == 0 {
		return p.session.QueryContext(ctx, query, args)
	}
	s, err := p.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(ctx, args)
	return rows, outdated(err)
}

// outdated says of a statement that a migration has changed under a running node, or that the server does not
// know any more, that its connection is of no more use: database/sql takes another one and sends the statement again, where
// no transaction has begun. https://www.postgresql.org/docs/15/errcodes-appendix.html
func outdated(err error) error {
	var said *pq.Error
	if errors.As(err, &said) && (said.Code == "26000" || said.Code == "0A000" && said.Routine == "RevalidateCachedQuery") {
		return driver.ErrBadConn
	}
	return err
}
