package platen_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// rooms says which of our packages each package may import: an arrow goes down
// this table only. ARCHITECTURE.md says what each room is for.
var rooms = map[string][]string{
	".":                   {},
	"cmd/platen":          {"*"},
	"server":              {".", "keyring", "pipeline", "resolvers", "storage", "web"},
	"graph":               {".", "resolvers/scalar"},
	"resolvers":           {".", "feed", "graph", "pipeline", "resolvers/scalar", "storage"},
	"resolvers/scalar":    {},
	"pipeline":            {".", "delivery", "feed", "jsonschema", "keyring", "liquid", "migrations", "pdf", "renderer", "storage", "storage/blob"},
	"delivery":            {".", "egress", "liquid"},
	"delivery/s3test":     {},
	"renderer":            {".", "egress"},
	"jsonschema":          {"sandbox"},
	"liquid":              {"sandbox"},
	"pdf":                 {"sandbox"},
	"feed":                {".", "storage"},
	"storage":             {".", "migrations"},
	"storage/blob":        {"."},
	"storage/storagetest": {".", "embedpg", "storage"},
	"keyring":             {},
	"egress":              {},
	"egress/egresstest":   {},
	"sandbox":             {},
	"embedpg":             {},
	"migrations":          {},
	"bench":               {},
	"web":                 {},
}

// homes are the engines, and the only packages that may import them outside tests.
var homes = map[string][]string{
	"github.com/riverqueue/river":         {"pipeline", "migrations"},
	"github.com/jmoiron/sqlx":             {"storage"},
	"github.com/hashicorp/golang-lru":     {"storage"},
	"github.com/lib/pq":                   {"storage", "embedpg", "storage/storagetest"},
	"github.com/pressly/goose":            {"migrations"},
	"github.com/go-rod/rod":               {"renderer"},
	"github.com/osteele/liquid":           {"liquid"},
	"github.com/pdfcpu/pdfcpu":            {"pdf"},
	"github.com/santhosh-tekuri":          {"jsonschema"},
	"github.com/aws/aws-sdk-go-v2":        {"delivery", "delivery/s3test", "storage/blob"},
	"github.com/aws/smithy-go":            {"delivery", "delivery/s3test"},
	"code.dny.dev/ssrf":                   {"egress"},
	"github.com/tink-crypto/tink-go":      {"keyring"},
	"github.com/gorilla/websocket":        {"server"},
	"github.com/99designs/gqlgen":         {"graph", "resolvers", "resolvers/scalar", "server"},
	"github.com/vektah/gqlparser":         {"graph", "resolvers", "server"},
	"github.com/prometheus/client_golang": {"pipeline", "server", "cmd/platen"},
	"golang.org/x/net":                    {"renderer"},
	"github.com/standard-webhooks":        {"delivery"},
}

func TestEveryArrowGoesDownAndEveryEngineHasOneHome(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		room := place(pkg.ImportPath)
		allowed, known := rooms[room]
		if !known {
			t.Errorf("%s is not a room of the house: give it a line here and in ARCHITECTURE.md", room)
			continue
		}
		for _, imported := range pkg.Imports {
			if imported == "platen" || strings.HasPrefix(imported, "platen/") {
				if !slices.Contains(allowed, "*") && !slices.Contains(allowed, place(imported)) {
					t.Errorf("%s imports %s: arrows go down", room, imported)
				}
			}
			for engine, home := range homes {
				if (imported == engine || strings.HasPrefix(imported, engine+"/")) && !slices.Contains(home, room) {
					t.Errorf("%s imports %s, whose home is %v", room, imported, home)
				}
			}
		}
	}
}

// place is a package's folder in the repository.
func place(importPath string) string {
	return path.Clean(strings.TrimPrefix(strings.TrimPrefix(importPath, "platen"), "/"))
}

func TestEveryModuleThatIsRequiredIsJustified(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(read(t, "ARCHITECTURE.md"), "\n## What it is built of\n")
	list, _, _ = strings.Cut(list, "\n## ")
	justified := found("(?m)^\\| `([^`]+)` \\| \\S.{10,} \\|$", list)
	for _, module := range mod.Require {
		at := slices.Index(justified, module.Path)
		switch {
		case !module.Indirect && at < 0:
			t.Errorf("go.mod requires %s: say why in ARCHITECTURE.md", module.Path)
		case !module.Indirect:
			justified = slices.Delete(justified, at, at+1)
		}
	}
	if len(justified) > 0 {
		t.Errorf("ARCHITECTURE.md justifies %v, which go.mod does not require", justified)
	}
}
