package delivery

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"platen"
)

// T12: a value never adds a slash to a key, whatever it is; and whatever the path template
// is, the key is one that a bucket takes, below no other place than it names.
func FuzzAKeyStaysWhereItsTemplatePutsIt(f *testing.F) {
	for _, seed := range [][2]string{{"{{ submission_id }}.pdf", "x"}, {"a/{{ metadata.v }}", "../../etc/passwd"}, {"{{ metadata.v | append: '/' }}", "/"},
		{"{% for i in (1..3) %}{{ metadata.v }}/{% endfor %}", "."}, {"/{{ template_name }}", "\x00"}, {"..{{ metadata.v }}", "/.."}, {"{{ metadata.v", "ä"},
		{"{{ metadata.v | replace: '_', '/' }}", "_.._"}, {"{{ metadata }}", "a"}, {"{{ metadata.v | url_decode }}", "%2e%2e%2f"}, {"a//b", "\u2215"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pathTemplate, value string) {
		metadata, err := json.Marshal(map[string]any{"v": value, value: value, "list": []string{value}})
		if err != nil {
			t.Fatal(err)
		}
		d := Sample(platen.PathSubmission, "acc_000000000000000000", metadata, time.Unix(0, 0))
		d.TemplateName = value
		if key, err := keys.Key(t.Context(), "tenants/{{ metadata.v }}/{{ template_name }}/end.pdf", d); err == nil {
			if !strings.HasPrefix(key, "tenants/") || !strings.HasSuffix(key, "/end.pdf") || strings.Count(key, "/") != 3 {
				t.Errorf("%q moves a key to %q", value, key)
			}
		}
		key, err := keys.Key(t.Context(), pathTemplate, d)
		if err != nil {
			return
		}
		if key == "" || len(key) > 1024 || strings.HasPrefix(key, "/") || !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q with %q gives %q", pathTemplate, value, key)
		}
		for _, segment := range strings.Split(key, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q with %q gives %q", pathTemplate, value, key)
			}
		}
	})
}
