package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const publishedContract = "../../graph/published.graphqls"

// contract is what clients are told that the contract is.
func contract(t *testing.T) string {
	t.Helper()
	response, err := http.Get(shared.baseURL + "/schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// contractChanges are what graphql-js finds between the published contract and another.
type contractChanges struct{ Breaking, Dangerous []string }

func changesOf(t *testing.T, present string) (found contractChanges) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "present.graphqls")
	if err := os.WriteFile(file, []byte(present), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/clients/schema.mjs", publishedContract, file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s\nrun `make test`, which installs what it needs", err, stderr.String())
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return found
}

// undeclared says what is wrong between the breaking changes that were made and those that
// the text of graph/breaking.txt declares.
func undeclared(made []string, text string) (wrong []string) {
	var declared []string
	explained := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		comment := strings.HasPrefix(line, "#")
		if line != "" && !comment {
			declared = append(declared, line)
			if !explained {
				wrong = append(wrong, fmt.Sprintf("graph/breaking.txt does not say why: put a comment before %q.", line))
			}
		}
		explained = comment && strings.Trim(line, "# ") != ""
	}
	for _, change := range made {
		if !slices.Contains(declared, change) {
			wrong = append(wrong, fmt.Sprintf("%q breaks clients of the published contract. Keep what they use, and deprecate it; or put this line into graph/breaking.txt, after a comment that says why.", change))
		}
	}
	for _, change := range declared {
		if !slices.Contains(made, change) {
			wrong = append(wrong, fmt.Sprintf("graph/breaking.txt declares %q, which is not so: take the line out.", change))
		}
	}
	return wrong
}

func TestWhatBreaksClientsOfTheContractIsDeclared(t *testing.T) {
	t.Parallel()
	declared, err := os.ReadFile("../../graph/breaking.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := changesOf(t, contract(t))
	for _, wrong := range undeclared(found.Breaking, string(declared)) {
		t.Error(wrong)
	}
	// The contract says that clients have to be ready for these.
	for _, change := range found.Dangerous {
		t.Log(change)
	}
}

// Each change is made to the published contract, so that no release takes it away.
func TestWhatBreaksClientsOfTheContractIsFound(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(publishedContract)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, old, new string
		want           contractChanges
	}{
		{name: "nothing"},
		{name: "what is deprecated", old: "  preferCssPageSize: Boolean!\n", new: "  preferCssPageSize: Boolean! @deprecated(reason: \"It was always true.\")\n"},
		{"another name of a field", "  preferCssPageSize: Boolean!\n", "  cssPageSizeWins: Boolean!\n",
			contractChanges{Breaking: []string{"FIELD_REMOVED PageSettings.preferCssPageSize was removed."}}},
		{"another name of an enum value", "  LEDGER\n", "  HUGE\n",
			contractChanges{[]string{"VALUE_REMOVED_FROM_ENUM LEDGER was removed from enum type PaperFormat."},
				[]string{"VALUE_ADDED_TO_ENUM HUGE was added to enum type PaperFormat."}}},
		{"an argument that became required", "    filter: CombinedSubmissionFilter\n", "    filter: CombinedSubmissionFilter!\n",
			contractChanges{Breaking: []string{"ARG_CHANGED_KIND Query.combinedSubmissions arg filter has changed type from CombinedSubmissionFilter to CombinedSubmissionFilter!."}}},
		{"an argument more", "  awsRegions: ", "  awsRegions(country: String): ",
			contractChanges{Dangerous: []string{"OPTIONAL_ARG_ADDED An optional arg country on Query.awsRegions was added."}}},
		{"another default", "  publish: Boolean! = true\n", "  publish: Boolean! = false\n",
			contractChanges{Breaking: []string{"INPUT_FIELD_DEFAULT_CHANGED CreateTemplateInput.publish has changed its default from true to false."}}},
		{"another default of an argument", `    key: String! = "platen-connection-test.txt"`, `    key: String! = "test.txt"`,
			contractChanges{Breaking: []string{`ARG_DEFAULT_VALUE_CHANGE Mutation.testIntegration arg key has changed defaultValue from "platen-connection-test.txt" to "test.txt".`}}},
		{"another scope", "): PathPreview! @auth\n", "): PathPreview! @auth(scope: ADMIN)\n",
			contractChanges{Breaking: []string{"SCOPE_RAISED Query.pathPreview needs the scope ADMIN instead of READ."}}},
		{"a field that may be null", "  preferCssPageSize: Boolean!\n", "  preferCssPageSize: Boolean\n",
			contractChanges{Breaking: []string{"FIELD_CHANGED_KIND PageSettings.preferCssPageSize changed type from Boolean! to Boolean."}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.old != "" && strings.Count(string(text), c.old) != 1 {
				t.Fatalf("the contract has %q %d times", c.old, strings.Count(string(text), c.old))
			}
			found := changesOf(t, strings.Replace(string(text), c.old, c.new, 1))
			if !slices.Equal(found.Breaking, c.want.Breaking) || !slices.Equal(found.Dangerous, c.want.Dangerous) {
				t.Errorf("found %+v, want %+v", found, c.want)
			}
		})
	}
}

func TestBreakingChangesAreDeclaredWithTheirReason(t *testing.T) {
	t.Parallel()
	made := []string{"FIELD_REMOVED A.b was removed."}
	for text, wrong := range map[string]int{
		"": 1,
		"# It was always null.\nFIELD_REMOVED A.b was removed.\n": 0,
		"FIELD_REMOVED A.b was removed.\n":                        1,
		"#\nFIELD_REMOVED A.b was removed.\n":                     1,
		"# It was always null.\nFIELD_REMOVED A.b was removed.\n\n# It is no more.\nTYPE_REMOVED C was removed.\n": 1,
		"# It was always null.\nFIELD_REMOVED A.b was removed.\nTYPE_REMOVED C was removed.\n":                     2,
	} {
		if found := undeclared(made, text); len(found) != wrong {
			t.Errorf("%q: %q, want %d", text, found, wrong)
		}
	}
}
