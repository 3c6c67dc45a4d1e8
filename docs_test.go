package platen_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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

func TestTheTestsThatGuardTheRequirementsExist(t *testing.T) {
	t.Parallel()
	guards := found("`([a-z0-9/.]+: Test\\w+)`", read(t, "docs/requirements.md"))
	if len(guards) < 30 {
		t.Fatalf("only %d tests are named in docs/requirements.md", len(guards))
	}
	for _, guard := range guards {
		folder, name, _ := strings.Cut(guard, ": ")
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool { return strings.Contains(read(t, file), "func "+name+"(t ") }) {
			t.Errorf("docs/requirements.md names %s, which does not exist", guard)
		}
	}
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
		for _, link := range found(`\]\(([^)#:]+)(?:#[^)]*)?\)`, read(t, page)) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, link)
			}
		}
	}
}

func TestTheCheckOfSignaturesIsTheOneThatIsTested(t *testing.T) {
	t.Parallel()
	if !strings.Contains(read(t, "docs/webhooks.md"), strings.TrimSpace(read(t, "delivery/testdata/verify.js"))) {
		t.Error("docs/webhooks.md does not show delivery/testdata/verify.js as it is")
	}
}
