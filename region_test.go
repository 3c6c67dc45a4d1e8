package platen

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRegionsAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/endpoints/awsrulesfn/partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var known struct {
		Partitions []struct {
			ID      string
			Regions map[string]struct{ Description string }
		}
	}
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	var want []Region
	for _, id := range []string{"aws", "aws-eusc", "aws-cn", "aws-us-gov"} { // the others are not open to the public
		for _, partition := range known.Partitions {
			if partition.ID != id {
				continue
			}
			for _, code := range slices.Sorted(maps.Keys(partition.Regions)) {
				if !strings.HasSuffix(code, "-global") { // no place
					want = append(want, Region{code, partition.Regions[code].Description})
				}
			}
		}
	}
	if len(want) < 30 || !slices.Equal(Regions(), want) {
		t.Errorf("%v\nwant %v", Regions(), want)
	}
}
