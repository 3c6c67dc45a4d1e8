package platen_test

import (
	"encoding/json"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	gql "github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"platen"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// found are the first groups of all matches, sorted, each once.
func found(pattern, text string) (all []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestEveryFailureCodeIsExplained(t *testing.T) {
	t.Parallel()
	codes := found(`FailureCode = "([A-Z0-9_]+)"`, read(t, "failure.go"))
	if len(codes) < 20 {
		t.Fatalf("only %d codes were found in failure.go", len(codes))
	}
	explained := read(t, "docs/failures.md")
	for _, code := range codes {
		if !strings.Contains(explained, "| `"+code+"`") {
			t.Errorf("docs/failures.md has no row for %s", code)
		}
	}
}

// What extensions.code of a top-level error can be is told where clients read it.
func TestEveryCodeOfAnErrorIsInTheContract(t *testing.T) {
	t.Parallel()
	_, told, ok := strings.Cut(platen.SDL, "with `extensions.code`: ")
	if !ok {
		t.Fatal("the contract does not list the codes")
	}
	told, _, _ = strings.Cut(told, "\n- ")
	listed := found(`\b([A-Z][A-Z_]{4,})\b`, told)
	// gqlgen's own, of what it parses, validates and keeps by its hash.
	made := []string{"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "PERSISTED_QUERY_NOT_FOUND"}
	for _, room := range []string{"resolvers", "server"} {
		files, err := filepath.Glob(room + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				made = append(made, found(`"([A-Z][A-Z_]{4,})"`, read(t, file))...)
			}
		}
	}
	slices.Sort(made)
	if made = slices.Compact(made); !slices.Equal(made, listed) {
		t.Errorf("the rooms make %v, the contract lists %v", made, listed)
	}
}

func TestTheTestsThatGuardTheRequirementsExist(t *testing.T) {
	t.Parallel()
	guards := named(t, "docs/requirements.md")
	if len(guards) < 30 {
		t.Fatalf("only %d tests are named in docs/requirements.md", len(guards))
	}
}

func TestTheTestsThatTryTheThreatsExist(t *testing.T) {
	t.Parallel()
	if guards := named(t, "docs/security.md"); len(guards) < 40 {
		t.Errorf("only %d tests are named in docs/security.md", len(guards))
	}
	page := read(t, "docs/security.md")
	for threat := 1; threat <= 19; threat++ {
		row := regexp.MustCompile(`(?m)^\| T` + strconv.Itoa(threat) + ` \|.*$`).FindString(page)
		if len(found("`([a-z/.]+: (?:Test|Fuzz)\\w+)`", row)) == 0 {
			t.Errorf("docs/security.md names no test that tries T%d", threat)
		}
	}
}

// named are the tests that a page names, which have to exist.
func named(t *testing.T, page string) []string {
	t.Helper()
	guards := found("`([a-z0-9/.]+: (?:Test|Fuzz)\\w+)`", read(t, page))
	for _, guard := range guards {
		folder, name, _ := strings.Cut(guard, ": ")
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			return strings.Contains(read(t, file), "func "+name+"(t ") || strings.Contains(read(t, file), "func "+name+"(f ")
		}) {
			t.Errorf("%s names %s, which does not exist", page, guard)
		}
	}
	return guards
}

func TestTheConfigurationIsExplainedWhereverItIsRead(t *testing.T) {
	t.Parallel()
	names := found(`\{"((?:PLATEN|DATABASE)_[A-Z_]+)", "`, read(t, "cmd/platen/config.go"))
	readme := read(t, "README.md")
	for _, name := range names {
		if !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("README.md does not explain %s", name)
		}
	}
	if len(names) < 10 {
		t.Errorf("only %v were found in cmd/platen/config.go", names)
	}
}

func TestLinksOfTheDocumentationLeadSomewhere(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, dir := range []string{".", "docs"} {
		matches, err := fs.Glob(os.DirFS(dir), "*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range matches {
			pages = append(pages, filepath.Join(dir, match))
		}
	}
	for _, page := range pages {
		for _, link := range found(`\]\(([^):]+)\)`, read(t, page)) {
			file, heading, _ := strings.Cut(link, "#")
			target := filepath.Join(filepath.Dir(page), file)
			if file == "" {
				target = page
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", page, link)
			} else if heading != "" && !slices.Contains(headings(read(t, target)), heading) {
				t.Errorf("%s links to %s, but there is no such heading", page, link)
			}
		}
	}
}

func TestTheRequestsOfTheGuidesAreOnesOfTheContract(t *testing.T) {
	t.Parallel()
	schema, err := gqlparser.LoadSchema(&gql.Source{Name: "schema.graphqls", Input: platen.SDL})
	if err != nil {
		t.Fatal(err)
	}
	pages, globErr := filepath.Glob("docs/*.md")
	if globErr != nil {
		t.Fatal(globErr)
	}
	requests := 0
	for _, page := range append(pages, "README.md") {
		text := read(t, page)
		bodies := found("(?s)<<'(?:EOF|JSON)'\n(.*?)\n *(?:EOF|JSON)\n", text)
		// Without quotes, the shell puts its variables in and takes backslashes away.
		for _, body := range found("(?s)<<(?:EOF|JSON)\n(.*?)\n *(?:EOF|JSON)\n", text) {
			bodies = append(bodies, strings.ReplaceAll(shellVariable.ReplaceAllString(body, "${1}x"), `\$`, "$"))
		}
		bodies = append(bodies, found("(?:ask|-d) '(\\{\"query\".*)'\n", text)...)
		for _, body := range bodies {
			if !strings.HasPrefix(body, `{"query"`) {
				continue // a file of another kind
			}
			requests++
			var request struct {
				Query     string
				Variables map[string]any
			}
			if err := json.Unmarshal([]byte(body), &request); err != nil {
				t.Errorf("%s: %v in %s", page, err, body)
				continue
			}
			document, err := gqlparser.LoadQueryWithRules(schema, request.Query, rules.NewDefaultRules())
			if err != nil {
				t.Errorf("%s: %v in %s", page, err, request.Query)
				continue
			}
			if _, err := validator.VariableValues(schema, document.Operations[0], request.Variables); err != nil {
				t.Errorf("%s: %v in %s", page, err, body)
			}
		}
		for _, query := range found("(?s)```graphql\n(.*?)\n```", text) {
			requests++
			if _, err := gqlparser.LoadQueryWithRules(schema, query, rules.NewDefaultRules()); err != nil {
				t.Errorf("%s: %v in %s", page, err, query)
			}
		}
	}
	if requests < 30 {
		t.Errorf("only %d requests were found", requests)
	}
}

var shellVariable = regexp.MustCompile(`(^|[^\\])\$[A-Z_]+`)

// headings are those of a page as links name them.
func headings(text string) (all []string) {
	for _, heading := range found(`(?m)^#+ (.+)$`, text) {
		plain := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
		all = append(all, strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

func TestEveryExampleHasItsPictureInAGuide(t *testing.T) {
	t.Parallel()
	guides := ""
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		guides += read(t, page)
	}
	names := func(pattern string) (all []string) {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			all = append(all, strings.TrimSuffix(filepath.Base(file), ".png"))
		}
		return all
	}
	examples, pictures := names("docs/examples/*"), names("docs/pictures/*.png")
	if len(examples) == 0 || !slices.Equal(examples, pictures) {
		t.Errorf("examples %v, pictures %v", examples, pictures)
	}
	for _, name := range examples {
		if !strings.Contains(guides, "(pictures/"+name+".png)](examples/"+name+")") {
			t.Errorf("no guide shows the picture of %s", name)
		}
	}
	// What a guide shows of a style sheet is in it.
	for _, rules := range found("(?s)```css\n((?:@page \\{ size|\\.chapter).*?)\n```", guides) {
		if !strings.Contains(read(t, "docs/examples/report/style.css")+read(t, "docs/examples/mixed/style.css"), rules) {
			t.Errorf("no example has the rules %s", rules)
		}
	}
}

func TestTheCheckOfSignaturesIsTheOneThatIsTested(t *testing.T) {
	t.Parallel()
	if !strings.Contains(read(t, "docs/webhooks.md"), strings.TrimSpace(read(t, "delivery/testdata/verify.js"))) {
		t.Error("docs/webhooks.md does not show delivery/testdata/verify.js as it is")
	}
}

// limits are the constants that say what an argument may hold, and the row of the
// table "Limits" in README.md that gives their value.
var limits = map[string]string{
	"platen.MaxName":             "`name` of a template, a token, an integration",
	"platen.MaxDescription":      "`description`",
	"platen.MaxSource":           "`html`, `css`, `headerHtml`, `footerHtml`",
	"platen.MaxData":             "`data`, `sampleData`, `schema`",
	"platen.MaxMetadata":         "`metadata`",
	"platen.MaxMetadataKeys":     "`metadata`",
	"platen.MaxAddress":          "`url` of a submission or a source",
	"platen.MaxPassword":         "`password`",
	"platen.MaxExpireAfter":      "`expiresIn`, `expireAfter`",
	"platen.MaxBatch":            "`submissions` of a batch",
	"platen.MaxSources":          "`sources` of a combined submission",
	"pdf.MaxMerge":               "all of them together",
	"platen.MaxPart":             "`byteSize` of an upload, the file at a source's `url`",
	"platen.MaxFilename":         "`filename` of an upload",
	"pipeline.maxDrafts":         "all drafts of a batch together",
	"platen.MaxLength":           "`width`, `height`, `marginTop` and the other margins",
	"platen.maxPaper":            "the paper's `width` and `height`",
	"platen.MaxPageRanges":       "`pageRanges`",
	"platen.maxPageNumber":       "a page number in `pageRanges`",
	"platen.MaxWaitSelector":     "`waitFor.selector`",
	"platen.MaxWaitExpression":   "`waitFor.expression`",
	"platen.MaxRenderTimeout":    "`timeout`",
	"platen.MaxWindow":           "`screenshot.width`, `screenshot.height`",
	"platen.MaxScaleFactor":      "`screenshot.deviceScaleFactor`",
	"platen.MaxImageSide":        "each side of an image",
	"platen.MaxImagePixels":      "all of an image",
	"platen.maxPresignedURL":     "`presignedUpload.url`",
	"platen.maxPresignedHeaders": "`presignedUpload.headers`",
	"platen.maxHeaderBytes":      "names and values of these headers",
	"platen.maxAccessKey":        "`accessKeyId`, `secretAccessKey`",
	"platen.maxStoredAddress":    "`endpoint` of an integration, `url` of a webhook",
	"platen.maxKMSKey":           "`kmsKeyId`",

	// In other rooms only those that are named here are looked for.
	"delivery.maxPathTemplate": "a path template",
	"delivery.maxKey":          "the key that it makes",
	"delivery.MaxObject":       "an upload to a bucket",
	"jsonschema.maxDepth":      "`data` that is checked against a schema",
	"jsonschema.maxDigits":     "`data` that is checked against a schema",
	"jsonschema.maxExponent":   "`data` that is checked against a schema",
	"jsonschema.MaxViolations": "a check of data against a schema",
	"liquid.outputLimit":       "a Liquid render",
	"pipeline.maxKey":          "`idempotencyKey`",
	"pipeline.MaxRetries":      "`retryFailedActions`",
	"renderer.maxFile":         "the finished document",
	"resolvers.maxWait":        "`wait`",
	"resolvers.maxPage":        "`first`, `last` of a list",
	"resolvers.maxNodes":       "`ids` of `nodes`",
	"server.maxBody":           "the body of a request",
	"server.maxStrangersBody":  "the body of a request without a token",
}

func TestEveryLimitIsInTheTableOfLimits(t *testing.T) {
	t.Parallel()
	rows := map[string]string{}
	_, table, _ := strings.Cut(read(t, "README.md"), "### Limits")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 3 {
			rows[strings.TrimPrefix(cells[0], "| ")] = cells[1]
		}
	}
	known := constantsOf{"platen": nil}
	for name := range known.in(t, "platen") {
		if _, named := limits["platen."+name]; !named && strings.HasPrefix(strings.ToLower(name), "max") {
			t.Errorf("nothing says in which row of the table of limits %s is", name)
		}
	}
	for name, argument := range limits {
		room, name, _ := strings.Cut(name, ".")
		value, isThere := known.in(t, room)[name]
		limit, isRow := rows[argument]
		switch {
		case !isThere:
			t.Errorf("there is no constant %s.%s", room, name)
		case !isRow:
			t.Errorf("README.md has no row of limits for %s: %s.%s is %s", argument, room, name, value)
		case !slices.Contains(found(`([0-9][0-9,.]*[0-9]|[0-9])`, limit), value):
			t.Errorf("README.md says of %s: %s, but %s.%s is %s", argument, limit, room, name, value)
		}
	}
}

// constantsOf are the constants of rooms, by the rooms' names.
type constantsOf map[string]*types.Package

// in are the constants of a room that are numbers, as people write them: 2,097,152.
func (c constantsOf) in(t *testing.T, room string) map[string]string {
	t.Helper()
	checked, err := c.Import(room)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range checked.Scope().Names() {
		constantly, ok := checked.Scope().Lookup(name).(*types.Const)
		if !ok {
			continue
		}
		if n, exact := constant.Int64Val(constant.ToInt(constantly.Val())); exact {
			all[name] = grouped(n)
		}
	}
	return all
}

// Import checks the package of a room as far as its constants need it. Of packages
// that are not ours nothing is known, so what is said with their words is left out.
func (c constantsOf) Import(name string) (*types.Package, error) {
	if c[name] != nil {
		return c[name], nil
	}
	folder, ours := strings.TrimPrefix(strings.TrimPrefix(name, "platen"), "/"), true
	if name == "platen" {
		folder = "."
	} else if _, err := os.Stat(folder); err != nil || folder == "" {
		ours = false
	}
	if !ours {
		c[name] = types.NewPackage(name, path.Base(name))
		c[name].MarkComplete()
		return c[name], nil
	}
	sources, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	positions := token.NewFileSet()
	var files []*ast.File
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(positions, source, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	config := types.Config{Importer: c, IgnoreFuncBodies: true, Error: func(error) {}}
	c[name], _ = config.Check(name, positions, files, nil) // the errors are of what is not known
	return c[name], nil
}

// grouped is a number with a comma before each three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
