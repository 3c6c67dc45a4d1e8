package migrations_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"platen/migrations"
	"platen/storage/storagetest"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

// expanding is the first migration that runs while nodes of the version before work.
const expanding = 7

// catalog is what the nodes of a version rely on, and what binds them: a name for each
// thing, and what it is like.
type catalog struct {
	columns map[string]column // by table.column
	bounds  map[string]string // what the rows of a table have to satisfy: constraints, unique indexes, triggers
}

type column struct {
	Table, Type      string
	Nullable, Filled bool // Filled: by itself, where an insert does not name it
}

func catalogOf(t *testing.T, db *sql.DB) catalog {
	t.Helper()
	c := catalog{columns: map[string]column{}, bounds: map[string]string{}}
	rows, err := db.QueryContext(t.Context(), `select table_name, column_name, udt_name, is_nullable = 'YES', column_default is not null or is_generated = 'ALWAYS' or is_identity = 'YES'
		from information_schema.columns where table_schema = 'public' and table_name not like 'goose%'`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		var one column
		if err := rows.Scan(&one.Table, &name, &one.Type, &one.Nullable, &one.Filled); err != nil {
			t.Fatal(err)
		}
		c.columns[one.Table+"."+name] = one
	}
	bounds, err := db.QueryContext(t.Context(), `
		select conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace and conrelid <> 0
		union all select indrelid::regclass || '.' || indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index join pg_class on pg_class.oid = indrelid
			where relnamespace = 'public'::regnamespace and indisunique
		union all select tgrelid::regclass || '.' || tgname, pg_get_triggerdef(pg_trigger.oid) from pg_trigger join pg_class on pg_class.oid = tgrelid
			where relnamespace = 'public'::regnamespace and not tgisinternal`)
	if err != nil {
		t.Fatal(err)
	}
	for bounds.Next() {
		var name, definition string
		if err := bounds.Scan(&name, &definition); err != nil {
			t.Fatal(err)
		}
		c.bounds[name] = definition
	}
	if err := errorOf(rows, bounds); err != nil {
		t.Fatal(err)
	}
	return c
}

func errorOf(rows ...*sql.Rows) error {
	for _, one := range rows {
		if err := one.Err(); err != nil {
			return err
		}
	}
	return nil
}

// breaks are the names of what nodes of the version before would trip over, and why.
func breaks(before, after catalog) map[string]string {
	found, tables := map[string]string{}, map[string]bool{}
	for name, was := range before.columns {
		tables[was.Table] = true
		is, kept := after.columns[name]
		switch {
		case !kept:
			found[name] = "is gone"
		case is.Type != was.Type:
			found[name] = "was " + was.Type + " and is " + is.Type
		case was.Nullable && !is.Nullable, was.Filled && !is.Filled && !is.Nullable:
			found[name] = "has to be given now"
		}
	}
	for name, is := range after.columns {
		if _, old := before.columns[name]; !old && tables[is.Table] && !is.Nullable && !is.Filled {
			found[name] = "is new, and inserts that do not name it fail"
		}
	}
	for name, definition := range after.bounds {
		table, _, _ := strings.Cut(name, ".")
		if tables[table] && before.bounds[name] != definition {
			found[name] = "binds those who do not know it: " + definition
		}
	}
	return found
}

// What a node of the version before relies on is taken away a release later. Such a
// migration says so: "-- contract: table.name: why nobody needs it any more".
var contract = regexp.MustCompile(`(?m)^-- contract: ([\w.]+): .{10,}`)

// blocking is what keeps others from a table for as long as it takes to read it all.
var blocking = regexp.MustCompile(`(?i)create (unique )?index (?:concurrently )?\w+ on (\w+)|alter table (\w+)[^;]*?(alter column \w+ (set data )?type|set not null|add (constraint \w+ )?(check|unique|primary|foreign|exclude))`)

func TestEachMigrationLeavesTheNodesOfTheVersionBeforeAtWork(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("postgres", storagetest.EmptyDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	names, err := fs.Glob(migrations.Scripts, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	slices.Sort(names)
	before := catalog{}
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := migrations.UpTo(t.Context(), db, version); err != nil {
			t.Fatal(err)
		}
		after := catalogOf(t, db)
		if version >= expanding {
			text, err := fs.ReadFile(migrations.Scripts, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, mistake := range judge(string(text), before, after) {
				t.Errorf("%s: %s", name, mistake)
			}
		}
		before = after
	}
}

// judge finds what is wrong with a migration beside nodes that work.
func judge(script string, before, after catalog) (mistakes []string) {
	declared := map[string]bool{}
	for _, match := range contract.FindAllStringSubmatch(script, -1) {
		declared[match[1]] = true
	}
	found := breaks(before, after)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if !declared[name] {
			mistakes = append(mistakes, fmt.Sprintf("%s %s: nodes of the version before are still at work. Take it away a release later, and say so with a line \"-- contract: %s: why\"", name, found[name], name))
		}
		delete(declared, name)
	}
	for name := range declared {
		mistakes = append(mistakes, fmt.Sprintf("%s is said to be a contract, and nothing of it changes", name))
	}
	up, _, _ := strings.Cut(script, "-- +goose Down")
	for _, match := range blocking.FindAllStringSubmatch(up, -1) {
		table := match[2] + match[3]
		old := slices.ContainsFunc(slices.Collect(maps.Values(before.columns)), func(c column) bool { return c.Table == table })
		if old && !strings.Contains(strings.ToLower(match[0]), "concurrently") {
			mistakes = append(mistakes, fmt.Sprintf("%q keeps all others from %s while it reads the whole table: use \"concurrently\", or \"not valid\" and \"validate\" later", match[0], table))
		}
	}
	return mistakes
}

// The judge is judged: each of these would stop nodes of the version before.
func TestMigrationsThatWouldStopNodesAreFound(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"alter table submissions drop column metadata":                                                   "submissions.metadata is gone",
		"alter table submissions rename column metadata to meta":                                         "submissions.metadata is gone",
		"drop table submission_inputs cascade":                                                           "submission_inputs.submission_id is gone",
		"alter table accounts alter column name type varchar(80)":                                        "accounts.name was text and is varchar",
		"alter table accounts add column plan text not null":                                             "accounts.plan is new",
		"alter table submissions alter column failure set not null":                                      "submissions.failure has to be given now",
		"create unique index accounts_name on accounts (name)":                                           "accounts.accounts_name binds",
		"alter table accounts add check (name <> '')":                                                    "binds those who do not know it: CHECK",
		"create index accounts_by_name on accounts (name)":                                               "keeps all others from accounts",
		"alter table accounts add column plan text; alter table accounts add check (plan <> 'x')":        "binds those",
		"-- contract: accounts.name: nobody ever read it\nalter table accounts add column plan text":     "accounts.name is said to be a contract",
		"-- contract: accounts.name: nobody ever read it\nalter table accounts drop column name":         "",
		"alter table accounts add column plan text, add column since timestamptz not null default now()": "",
		"create table plans (id text primary key, name text not null unique check (name <> ''))":         "",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			db := storagetest.New(t).SQL()
			before := catalogOf(t, db)
			if _, err := db.ExecContext(context.Background(), script); err != nil {
				t.Fatal(err)
			}
			mistakes := strings.Join(judge(script, before, catalogOf(t, db)), "\n")
			if want == "" && mistakes != "" || !strings.Contains(mistakes, want) {
				t.Errorf("found %q, want %q", mistakes, want)
			}
		})
	}
}
