//go:build platen_undefended

package storage

import (
	"context"
	"database/sql/driver"
	"regexp"
)

// undefended lets whoever knows an id reach what it names, of whatever account: of each
// statement that compares both, the id alone is left. `.ci/undefended` shows that the tests
// of tenancy fail then. `make build` never sets the tag.
func undefended(conn driver.Conn) driver.Conn { return everybodys{conn.(session)} }

type everybodys struct{ session }

var comparison = regexp.MustCompile(`((?:\w+\.)?account_id) = (\$\d+)( and (?:\w+\.)?id = )`)

func scopeless(query string) string { return comparison.ReplaceAllString(query, "($1 = $2 or true)$3") }

func (e everybodys) Prepare(query string) (driver.Stmt, error) {
	return e.session.Prepare(scopeless(query))
}

func (e everybodys) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return e.session.PrepareContext(ctx, scopeless(query))
}

func (e everybodys) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return e.session.ExecContext(ctx, scopeless(query), args)
}

func (e everybodys) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return e.session.QueryContext(ctx, scopeless(query), args)
}
