package storage_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"platen/storage/storagetest"
)

// acrossAccounts are the functions with statements on accounts' tables that name no
// account, how many statements those are, and why that is right.
var acrossAccounts = map[string]struct {
	statements int
	why        string
}{
	"useAPIToken":        {1, "the secret is what tells whose request it is; a session names its account"},
	"RevokeAPITokenByID": {1, "an operator's command, of whatever account"},
	"EndedAPITokens":     {1, "a node asks for the tokens of all connections that it has, by their ids"},
	"Copies":             {1, "a backup is of all accounts"},
	"UnnamedBlobs":       {1, "a sweep: it learns whether a copy is named, and not by whom"},
	"Waiting":            {1, "what waits is counted for each account at once, and told to the node alone"},
	"events":             {1, "a node reads the events of all accounts, and its hub gives each reader its own account's (feed: TestR1_3ASubscriptionIsScoped); AccountEventsAfter adds the account"},
	"DeleteEventsBefore": {1, "a sweep, by age"},
	"Epoch":              {1, "the history of a database that was put back is forgotten for all"},
	"ExpireUploads":      {1, "a sweep, by age; it returns keys of copies to be deleted"},
	"DocumentsToExpire":  {1, "a sweep, by age: it names documents with their accounts, and each is then locked in its account"},
	"DeleteOldKeys":      {1, "a sweep, by age"},
	"templateVersions":   {1, "a beginning: whoever uses it adds the account, and is checked with it"},
	"readDocuments":      {1, "its conditions are its caller's: byID, which begins with the account"},
}

// T15, behind the API: no statement on a table whose rows belong to accounts is without
// the account. Each mention of such a table needs a comparison, or an insertion, of its own.
func TestT15NoStatementOnAnAccountsTableLacksTheAccount(t *testing.T) {
	t.Parallel()
	// Which tables those are, the migrated database says.
	rows, err := storagetest.New(t).SQL().QueryContext(t.Context(), `select table_name from information_schema.columns
		where table_schema = 'public' and column_name = 'account_id' order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if len(tables) < 10 {
		t.Fatalf("only %v have an account", tables)
	}

	check := accountsIn(tables)
	statements, lacking := 0, map[string][]string{}
	source := parseStorage(t)
	for _, s := range source.statements() {
		switch mentions, accounts := check(s.text); {
		case mentions == 0:
		case accounts < mentions:
			lacking[s.function] = append(lacking[s.function], s.where+": "+s.text)
			fallthrough
		default:
			statements++
		}
	}
	if statements < 80 {
		t.Errorf("only %d statements on accounts' tables were found", statements)
	}
	for function, found := range lacking {
		if known := acrossAccounts[function]; known.statements != len(found) {
			t.Errorf("%s has %d statements that name an accounts' table without the account, of %d that are known:\n%s",
				function, len(found), known.statements, strings.Join(found, "\n"))
		}
	}
	for function, known := range acrossAccounts {
		if len(lacking[function]) < known.statements {
			t.Errorf("%s has %d statements without the account, and %d exceptions: take some out", function, len(lacking[function]), known.statements)
		}
	}
}

// The rules of the check itself.
func TestT15TheCheckOfStatementsSeesWhatLacksTheAccount(t *testing.T) {
	t.Parallel()
	check := accountsIn([]string{"submissions", "actions"})
	for statement, want := range map[string]bool{
		`select id from submissions where account_id = $1 and id = $2`:                                              true,
		`select account_id, id from submissions where id = $2`:                                                      false,
		`update submissions set state = $1 where id = $2`:                                                           false,
		`update submissions set account_id = $1 where id = $2`:                                                      false,
		`delete from actions where id = $2`:                                                                         false,
		`insert into actions (account_id, id) values ($1, $2)`:                                                      true,
		`insert into actions (id) values ($1)`:                                                                      false,
		`select 1 from submissions s join actions a on a.submission_id = s.id where s.account_id = $1`:              false,
		`select 1 from submissions s join actions a on a.account_id = s.account_id where s.account_id = $1`:         true,
		`select 1 from submissions where account_id = $1 and exists (select 1 from actions where id = $2)`:          false,
		`select 1 from {in.documents} where id = $1`:                                                                false,
		`select 1 from submissions, unnest($1::text[]) as ids (one) where id = one`:                                 false,
		`select 1 from accounts where id = $1`:                                                                      true,
		` from submissions where account_id = $1 and (archived_at is not null)`:                                     true,
		`select 1 from submissions where account_id <> $1`:                                                          false,
		"select 1\n\tfrom\n\tsubmissions\n\twhere id = $1":                                                          false,
		`with due as (select account_id, id from submissions) update actions set x = 1 from due where a = due.b`:    false,
		`select 1 from unnest($1::text[]) as ids (id), lateral (select 1 from actions where account_id = $2) as of`: true,
	} {
		if mentions, accounts := check(statement); accounts >= mentions != want {
			t.Errorf("%s: %d mentions, %d accounts", statement, mentions, accounts)
		}
	}
}

// accountsIn counts in a statement the mentions of these tables, and the comparisons and
// insertions of an account. A table whose name is not known counts as one of them.
func accountsIn(tables []string) func(statement string) (mentions, accounts int) {
	mention := regexp.MustCompile(`(?i)\b(?:from|join|update|into)\s+(?:` + strings.Join(tables, "|") + `|\{[\w.()]+\})(?:[\s(){;,]|$)`)
	account := regexp.MustCompile(`(?i)\baccount_id\s*=|insert\s+into\s+\S+\s*\(\s*account_id\b`)
	set := regexp.MustCompile(`(?i)\bset\s+(?:\w+\.)?account_id\s*=`)
	return func(statement string) (int, int) {
		return len(mention.FindAllString(statement, -1)), len(account.FindAllString(statement, -1)) - len(set.FindAllString(statement, -1))
	}
}

// Nor is there a statement outside of this room.
func TestT15OnlyStorageHasStatementsOnAccountsTables(t *testing.T) {
	t.Parallel()
	statement := regexp.MustCompile(`(?is)^\s*(select|with|insert into|update|delete from)\b.*\b(submissions|templates|actions|integrations|uploads|api_tokens|events|accounts)\b`)
	files := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (name == "storage" || strings.HasPrefix(entry.Name(), ".") && name != "." || entry.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", name), nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil && statement.MatchString(text) && strings.Contains(text, "$1") {
					t.Errorf("%s has a statement: %s", name, text)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || files < 50 {
		t.Fatal(files, err)
	}
}

// storageSource is this package's code, without tests.
type storageSource struct {
	files     *token.FileSet
	functions map[string]*ast.FuncDecl
	constants map[string]ast.Expr // of the package: constants and variables with a value
	parsed    []*ast.File
}

// statement is a text of SQL, or a part of one, as far as the code says it.
type statement struct{ function, where, text string }

func parseStorage(t *testing.T) *storageSource {
	t.Helper()
	s := &storageSource{files: token.NewFileSet(), functions: map[string]*ast.FuncDecl{}, constants: map[string]ast.Expr{}}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.parsed = append(s.parsed, file)
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				s.functions[d.Name.Name] = d
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if value, ok := spec.(*ast.ValueSpec); ok && len(value.Values) == len(value.Names) {
						for i, name := range value.Names {
							s.constants[name.Name] = value.Values[i]
						}
					}
				}
			}
		}
	}
	return s
}

// statements are all texts of the package, put together where the code does that.
func (s *storageSource) statements() (all []statement) {
	collect := func(function string, n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			expr, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			switch e := expr.(type) {
			case *ast.BasicLit, *ast.BinaryExpr:
			case *ast.CallExpr:
				if !isSprintf(e) {
					return true
				}
			default:
				return true
			}
			text, known := s.text(expr, 0)
			if !known {
				return true
			}
			all = append(all, statement{function, s.files.Position(n.Pos()).String(), text})
			return false
		})
	}
	for _, file := range s.parsed {
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				collect(d.Name.Name, d)
			case *ast.GenDecl:
				if d.Tok == token.CONST || d.Tok == token.VAR {
					for _, spec := range d.Specs {
						value := spec.(*ast.ValueSpec)
						for _, one := range value.Values {
							collect(value.Names[0].Name, one)
						}
					}
				}
			}
		}
	}
	return all
}

func isSprintf(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == "Sprintf"
}

// text is what an expression comes to. What only running it tells stands in braces, which
// are a name of their own; known says that it has any text.
func (s *storageSource) text(expr ast.Expr, depth int) (text string, known bool) {
	if depth > 8 {
		return "{...}", false
	}
	switch e := expr.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.ParenExpr:
		return s.text(e.X, depth)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			left, one := s.text(e.X, depth)
			right, two := s.text(e.Y, depth)
			return left + right, one || two
		}
	case *ast.Ident:
		if value := s.constants[e.Name]; value != nil {
			if text, known := s.text(value, depth+1); known {
				return text, true
			}
		}
		// What a function of the package gave, as in `where, args := whereActions(...)`.
		if e.Obj != nil {
			if assign, ok := e.Obj.Decl.(*ast.AssignStmt); ok && len(assign.Rhs) == 1 {
				if call, ok := assign.Rhs[0].(*ast.CallExpr); ok {
					if name, ok := call.Fun.(*ast.Ident); ok && s.functions[name.Name] != nil {
						return s.literals(s.functions[name.Name]), true
					}
				}
			}
			if value, ok := e.Obj.Decl.(*ast.ValueSpec); ok && len(value.Values) == 1 {
				return s.text(value.Values[0], depth+1)
			}
		}
		return "{" + e.Name + "}", false
	case *ast.SelectorExpr:
		if base, ok := e.X.(*ast.Ident); ok {
			return "{" + base.Name + "." + e.Sel.Name + "}", false
		}
	case *ast.CallExpr:
		if isSprintf(e) {
			return s.format(e, depth)
		}
		if name, ok := e.Fun.(*ast.Ident); ok && name.Name == "string" && len(e.Args) == 1 {
			return s.text(e.Args[0], depth+1)
		}
		return "{" + fmt.Sprintf("call%d", e.Pos()) + "}", false
	}
	return "{...}", false
}

// literals are all texts of a function, one after the other.
func (s *storageSource) literals(f *ast.FuncDecl) string {
	var b strings.Builder
	ast.Inspect(f, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, _ := strconv.Unquote(literal.Value)
			b.WriteString(text + " ")
		}
		return true
	})
	return b.String()
}

var verb = regexp.MustCompile(`%(?:\[(\d+)\])?[a-z]`)

// format puts the arguments of Sprintf in.
func (s *storageSource) format(call *ast.CallExpr, depth int) (string, bool) {
	format, known := s.text(call.Args[0], depth+1)
	next := 0
	return verb.ReplaceAllStringFunc(format, func(match string) string {
		if index := verb.FindStringSubmatch(match)[1]; index != "" {
			next, _ = strconv.Atoi(index)
			next--
		}
		next++
		if next >= len(call.Args) {
			return match
		}
		text, _ := s.text(call.Args[next], depth+1)
		return text
	}), known
}
