package pipeline

import (
	"encoding/json"
	"testing"

	"platen"
)

func TestR2_1PlatensOwnNamesWinOverThoseOfData(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		``:                          `null`,
		`null`:                      `null`,
		`[1,2]`:                     `[1,2]`,
		`"text"`:                    `"text"`,
		`{"a":1,"template_id":"x"}`: `{"a":1,"template_id":"x"}`,
	} {
		s := &platen.Submission{Source: platen.SourceHTML, Document: platen.Document{Record: platen.Record{ID: "sub_1"}, Metadata: json.RawMessage(`{"m":1}`)}, Data: json.RawMessage(data)}
		if data == "" {
			s.Data = nil
		}
		var seen map[string]json.RawMessage
		if err := json.Unmarshal(liquidVariables(s), &seen); err != nil {
			t.Fatal(err)
		}
		if string(seen["data"]) != want || string(seen["template_id"]) != `"html"` || string(seen["submission_id"]) != `"sub_1"` || string(seen["metadata"]) != `{"m":1}` {
			t.Errorf("%s: %s", data, seen)
		}
		if _, known := seen["a"]; known != (want[0] == '{') {
			t.Errorf("%s: %s", data, seen)
		}
	}
}

func TestAnAccountsFloodGoesBehind(t *testing.T) {
	t.Parallel()
	for waiting, want := range map[int]int{0: 1, 1: 2, 19: 2, 20: 3, 399: 3, 400: 4, 1 << 20: 4} {
		if got := priority(waiting); got != want {
			t.Errorf("%d waiting: priority %d, want %d", waiting, got, want)
		}
	}
}
