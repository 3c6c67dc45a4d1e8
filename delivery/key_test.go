package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"platen"
)

// document is the one that the DocSpring guide takes its examples from.
func document(metadata string) Document {
	return Document{Kind: platen.PathSubmission,
		AccountID: "acc_X3gQR5GN6tS6tcYgJs", TemplateID: "tpl_eGc5CmFbPnCCmerqsx", TemplateName: "Invoice 2/18 (A)", TemplateVersion: "3",
		SubmissionID: "sub_Gbxesk7Xf52Pq3KgT9", At: time.Date(2018, 5, 9, 9, 45, 31, 0, time.UTC),
		Metadata: json.RawMessage(metadata), Extension: "pdf",
	}
}

func TestKeysOfR54AndR55(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, path, metadata, want string }{
		{"the guide's example", "{{ template_id }}/{{ submission_id }}.pdf", "", "tpl_eGc5CmFbPnCCmerqsx/sub_Gbxesk7Xf52Pq3KgT9.pdf"},
		{"the default", platen.DefaultSubmissionPath, "", "tpl_eGc5CmFbPnCCmerqsx/sub_Gbxesk7Xf52Pq3KgT9.pdf"},
		{"account_id", "{{ account_id }}", "", "acc_X3gQR5GN6tS6tcYgJs"},
		{"template_id", "{{ template_id }}", "", "tpl_eGc5CmFbPnCCmerqsx"},
		{"template_name is a value", "{{ template_name }}", "", "Invoice_2_18_(A)"},
		{"template_version", "v{{ template_version }}", "", "v3"},
		{"submission_id", "{{ submission_id }}", "", "sub_Gbxesk7Xf52Pq3KgT9"},
		{"extension", "x.{{ extension }}", "", "x.pdf"},
		{"timestamp", "{{ timestamp }}", "", "20180509094531"},
		{"date", "{{ date }}", "", "20180509"},
		{"year", "{{ year }}", "", "2018"},
		{"month has no padding", "{{ month }}", "", "5"},
		{"day has no padding", "{{ day }}", "", "9"},
		{"month and day can be padded", `{{ month | prepend: "0" | slice: -2, 2 }}-{{ day | prepend: "0" | slice: -2, 2 }}`, "", "05-09"},
		{"a slash of the template is a folder", "a b/{{ year }}/{{ month }}/{{ day }}.pdf", "", "a b/2018/5/9.pdf"},
		{"the template's text is not sanitised", "Ünï & co+/x@y:1.pdf", "", "Ünï & co+/x@y:1.pdf"},
		{"logic", "{% if metadata.vip %}vip/{% else %}all/{% endif %}{{ submission_id }}", `{"vip":true}`, "vip/sub_Gbxesk7Xf52Pq3KgT9"},

		{"metadata.user_id", "{{ metadata.user_id }}/x", `{"user_id":"u-1"}`, "u-1/x"},
		{"a value adds no folder", "{{ metadata.a }}.pdf", `{"a":"a/b"}`, "a_b.pdf"},
		{"each character becomes one underscore", "{{ metadata.a }}", `{"a":"Ünï  1"}`, "_n___1"},
		{"a decomposed accent is two characters", "{{ metadata.a }}", `{"a":"e\u0301"}`, "e_"},
		{"an emoji is one character", "{{ metadata.a }}", `{"a":"x😀y"}`, "x_y"},
		{"an invalid byte is one character", "{{ metadata.a }}", "{\"a\":\"x\xff\xfey\"}", "x__y"},
		{"half a surrogate is one character", "{{ metadata.a }}", `{"a":"x\ud800y"}`, "x_y"},
		{"control characters", "{{ metadata.a }}", `{"a":"x\u0001\ny"}`, "x__y"},
		{"what the guide lists as invalid", "{{ metadata.a }}", `{"a":"\\@:+&,;=?#%[]{}|<>~^\u0060\"$ /"}`, strings.Repeat("_", 25)},
		{"the whole valid set", "{{ metadata.a }}", `{"a":"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!-_.*'()"}`, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!-_.*'()"},
		{"Liquid in a value is text", "{{ metadata.a }}", `{"a":"{{ account_id }}"}`, "___account_id___"},

		{"nested metadata", "{{ metadata.user.name.first }}", `{"user":{"name":{"first":"A/B"}}}`, "A_B"},
		{"a list's item", "{{ metadata.list[1] }}", `{"list":["a","b/c"]}`, "b_c"},
		{"a name with a space", `{{ metadata["order no"] }}`, `{"order no":"1/2"}`, "1_2"},
		{"an integer", "{{ metadata.n }}", `{"n":1}`, "1"},
		{"a negative number", "{{ metadata.n }}", `{"n":-1.5}`, "-1.5"},
		{"an integer beyond 2^53", "{{ metadata.n }}", `{"n":12345678901234567890123}`, "12345678901234567890123"},
		{"a number with an exponent", "{{ metadata.n }}", `{"n":1e21}`, "1e_21"},
		{"a number beyond all numbers", "{{ metadata.n }}", `{"n":1e+999}`, "1e_999"},
		{"a short exponent", "{{ metadata.n }}", `{"n":1E+2}`, "100"},
		{"true", "{{ metadata.b }}", `{"b":true}`, "true"},
		{"false", "{{ metadata.b }}", `{"b":false}`, "false"},
		{"null prints nothing", "x{{ metadata.a }}", `{"a":null}`, "x"},
		{"a missing value prints nothing", "x{{ metadata.a.b.c }}", `{}`, "x"},
		{"no metadata at all", "x{{ metadata.a }}", "", "x"},
		{"null for metadata", "x{{ metadata.a }}", "null", "x"},
		{"a list prints its items", "{{ metadata.l }}", `{"l":["a/b",1,true]}`, "a_b1true"},
		{"an object", "x{{ metadata.o }}", `{"o":{"a/b":"c/d"}}`, "x__a_b___c_d__"},
		{"all metadata", "x{{ metadata }}", `{"o":{"a":[{"b":1}]}}`, "x__o____a_____b__1____"},
		{"a name printed in a loop", "{% for pair in metadata %}{{ pair[0] }}{{ pair[1] }}{% endfor %}", `{"a/b":"c"}`, "a_bc"},
		{"names that become one", "{% for pair in metadata %}{{ pair[1] }}{% endfor %}", `{"a/b":"1","a b":"2"}`, "2"},
		{"a name as it is goes before one that becomes it", "{{ metadata.a_b }}", `{"a/b":"1","a_b":"2"}`, "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := keys.Key(context.Background(), test.path, document(test.metadata))
			if err != nil || got != test.want {
				t.Errorf("%s with %s: %q, %v; want %q", test.path, test.metadata, got, err, test.want)
			}
		})
	}
}

func TestTimesAreUTCR54(t *testing.T) {
	t.Parallel()
	d := document("")
	d.At = time.Date(2019, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600))
	got, err := keys.Key(context.Background(), "{{ timestamp }} {{ date }} {{ year }} {{ month }} {{ day }}", d)
	if want := "20181231233000 20181231 2018 12 31"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestWithoutATemplateR54(t *testing.T) {
	t.Parallel()
	d := document("")
	d.TemplateID, d.TemplateName, d.TemplateVersion, d.Extension = "html", "html", "0", "webp"
	got, err := keys.Key(context.Background(), "{{ template_id }}/{{ template_name }}/{{ template_version }}/{{ submission_id }}.{{ extension }}", d)
	if want := "html/html/0/sub_Gbxesk7Xf52Pq3KgT9.webp"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestIllegalKeysAreRefusedR56(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, path, metadata, says string }{
		{"empty", "{{ metadata.a }}", "", `"", which is empty`},
		{"too long", strings.Repeat("a", 1025), "", "has 1025 bytes; a key has at most 1024"},
		{"too long in bytes", strings.Repeat("ü", 513), "", "has 1026 bytes"},
		{"far too long", "{% for i in (1..5000) %}xxxxxxxxxx{% endfor %}", "", "has 50000 bytes"},
		{"a slash first", "/a", "", `"/a", which starts with a slash`},
		{"a missing folder first", "{{ metadata.a }}/b", "", "starts with a slash"},
		{"a slash last", "a/", "", "ends with a slash"},
		{"only a slash", "/", "", "starts with a slash"},
		{"an empty segment", "a/{{ metadata.a }}/b", "", "nothing between two slashes"},
		{"a dot", "a/{{ metadata.a }}/b", `{"a":"."}`, `"." between its slashes`},
		{"two dots", "a/{{ metadata.a }}/b", `{"a":".."}`, `".." between its slashes`},
		{"two dots first", "../b", "", `".."`},
		{"two dots last", "b/..", "", `".."`},
		{"only dots", "{{ metadata.a }}", `{"a":".."}`, `".."`},
		{"a control character", "a\x01b", "", "control character U+0001"},
		{"a line break", "a.pdf\n", "", "control character U+000A"},
		{"a noncharacter", "a\uFFFFb", "", "U+FFFF"},
		{"invalid UTF-8", "a\xffb", "", "not valid UTF-8"},
		{"a filter that fails", "{{ 1 | divided_by: 0 }}", "", "division by zero"},
		{"Liquid that does not parse", "{% if %}", "", "No key could be made from the path template"},
		{"metadata that is no object", "a", `[1]`, "not a JSON object"},
		{"metadata that is no JSON", "a", `{"a"`, "not a JSON object"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			key, err := keys.Key(context.Background(), test.path, document(test.metadata))
			var failure *platen.Failure
			if !errors.As(err, &failure) {
				t.Fatalf("key %q, error %v", key, err)
			}
			if failure.Stage != platen.StageDeliver || failure.Code != platen.FailureKeyInvalid || failure.Retryable || failure.OccurredAt.IsZero() {
				t.Errorf("%+v", failure)
			}
			if !strings.Contains(failure.Message, test.says) || len(failure.Message) > 600 {
				t.Errorf("message %q, want %q in it", failure.Message, test.says)
			}
		})
	}
}

func TestTheLongestKeyIsLegalR56(t *testing.T) {
	t.Parallel()
	for _, want := range []string{strings.Repeat("a", 1024), "...", "a/.../b", ".a/b.", "-"} {
		if got, err := keys.Key(context.Background(), want, document("")); err != nil || got != want {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestATemplateBeyondItsLimitsIsAFailure(t *testing.T) {
	t.Parallel()
	_, err := keys.Key(context.Background(), "{% for i in (1..100000) %}"+strings.Repeat("x", 900)+"{% endfor %}", document(""))
	var failure *platen.Failure
	if !errors.As(err, &failure) || failure.Code != platen.FailureKeyInvalid || failure.Retryable {
		t.Errorf("%v", err)
	}
}

func TestKeyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := keys.Key(ctx, "a", document("")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCheckRefusesBrokenPathTemplatesR56(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path         string
		code         platen.ErrorCode
		line, column int
		says         string
	}{
		{"", platen.CodeRequired, 0, 0, "required"},
		{" \n", platen.CodeRequired, 0, 0, "required"},
		{strings.Repeat("ü", 1025), platen.CodeTooLong, 0, 0, "1025"},
		{"{{ submision_id }}", platen.CodePathTemplateInvalid, 1, 4, "no variable submision_id"},
		{"a/\n{{ combined_submission_id }}", platen.CodePathTemplateInvalid, 2, 4, "no variable combined_submission_id"},
		{"{% if nope %}{% endif %}{{ submission_id }}", platen.CodePathTemplateInvalid, 1, 7, "no variable nope"},
		{"{{ submission_id | nope }}", platen.CodePathTemplateInvalid, 1, 20, "nope"},
		{"a/{{ submission_id", platen.CodePathTemplateInvalid, 1, 3, "not valid Liquid"},
		{"{% if year %}a", platen.CodePathTemplateInvalid, 1, 1, "not valid Liquid"},
		{"{% include 'x' %}", platen.CodePathTemplateInvalid, 1, 1, "not valid Liquid"},
		// What can never be a key, whatever the document.
		{"/{{ submission_id }}", platen.CodePathTemplateInvalid, 1, 1, "starts with a slash"},
		{"a/\n{{ submission_id }}/", platen.CodePathTemplateInvalid, 2, 20, "ends with a slash"},
		{"{{ submission_id }}.pdf\n", platen.CodePathTemplateInvalid, 1, 24, "U+000A"},
		{"\t{{ submission_id }}.pdf", platen.CodePathTemplateInvalid, 1, 1, "U+0009"},
		{"a//b.pdf", platen.CodePathTemplateInvalid, 1, 1, "nothing between two slashes"},
		{"../b.pdf", platen.CodePathTemplateInvalid, 1, 1, `".."`},
		// What would be another key at each attempt.
		{"{{ submission_id }}/{{ 'now' | date: '%H' }}.pdf", platen.CodePathTemplateInvalid, 1, 24, "each attempt"},
		{"{{ submission_id }}\n{% assign t = \"today\"|date: '%j' %}{{ t }}", platen.CodePathTemplateInvalid, 2, 15, "each attempt"},
		{strings.Repeat("ü", 513), platen.CodePathTemplateInvalid, 1, 1, "1026 bytes"},
	} {
		_, err := keys.Check(context.Background(), platen.PathSubmission, test.path)
		var mistake *platen.Error
		if !errors.As(err, &mistake) {
			t.Errorf("%q: %v", test.path, err)
			continue
		}
		if mistake.Code != test.code || mistake.Line != test.line || mistake.Column != test.column || !strings.Contains(mistake.Message, test.says) {
			t.Errorf("%q: %+v, want %s at %d:%d with %q", test.path, mistake, test.code, test.line, test.column, test.says)
		}
	}
}

func TestCheckLeavesOpenWhatTheDocumentDecidesR56(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"{{ metadata.folder }}/{{ submission_id }}", "{% if metadata.a %}a//b{% endif %}{{ submission_id }}", "{% comment %} https://example.com {% endcomment %}{{ submission_id }}",
		"\n{%- if true %}{{ submission_id }}{% endif -%}\n", "\n\t {{- submission_id -}}\n", "{{ submission_id }}/{{ metadata.name }}",
	} {
		if _, err := keys.Check(context.Background(), platen.PathSubmission, path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestCheckKnowsEveryVariableOfR54(t *testing.T) {
	t.Parallel()
	for kind, want := range map[platen.PathKind]string{
		platen.PathSubmission:         "account_id template_id template_name template_version submission_id extension timestamp date year month day metadata.<key>",
		platen.PathCombinedSubmission: "account_id combined_submission_id extension timestamp date year month day metadata.<key>",
		platen.PathTemplateVersion:    "account_id template_id template_name template_version timestamp date year month day",
	} {
		names := []string{}
		for _, variable := range Variables(kind) {
			names = append(names, variable.Name)
			if _, err := keys.Check(context.Background(), kind, "{{ "+strings.Replace(variable.Name, "<key>", "a", 1)+" }}"); err != nil {
				t.Errorf("%s: %s: %v", kind, variable.Name, err)
			}
			if variable.Description == "" {
				t.Errorf("%s is not explained", variable.Name)
			}
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%s has %v", kind, names)
		}
	}
	for path, kind := range map[string]platen.PathKind{
		"{{ submission_id }}": platen.PathTemplateVersion, "{{ metadata.a }}": platen.PathTemplateVersion, "{{ extension }}": platen.PathTemplateVersion,
		"{{ template_id }}": platen.PathCombinedSubmission, "{{ combined_submission_id }}": platen.PathSubmission,
	} {
		_, err := keys.Check(context.Background(), kind, path)
		if err == nil || !strings.Contains(err.Error(), "it is one of") {
			t.Errorf("%s of a %s: %v", path, kind, err)
		}
	}
	for _, path := range []string{
		strings.Repeat("ü", 1000) + "{% if day %}{% endif %}!", `{{ metadata.a.b }}/{{ metadata["x y"][0] }}`,
		"{% assign x = year %}{{ x }}{% for pair in metadata %}{{ pair[0] }}{{ forloop.index }}{% endfor %}{% capture y %}{% endcapture %}{{ y }}",
	} {
		if _, err := keys.Check(context.Background(), platen.PathSubmission, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCheckWarnsOfPathsThatAreNotUniqueR56(t *testing.T) {
	t.Parallel()
	for path, warns := range map[string]bool{
		platen.DefaultSubmissionPath:                  false,
		"{{ submission_id | downcase }}.pdf":          false,
		"{{ timestamp }}.pdf":                         true,
		"{{ template_id }}/{{ metadata.user }}":       true,
		"constant.pdf":                                true,
		"{{ metadata.submission_id }}.pdf":            true,
		"{% comment %}submission_id{% endcomment %}x": true,
	} {
		warnings, err := keys.Check(context.Background(), platen.PathSubmission, path)
		if err != nil || (len(warnings) == 1) != warns {
			t.Errorf("%s: %q, %v", path, warnings, err)
		}
		if warns && !strings.Contains(fmt.Sprint(warnings), "{{ submission_id }}") {
			t.Errorf("the warning does not say what to do: %q", warnings)
		}
	}
}

func TestCheckWarnsByTheKindOfThePathR56(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind platen.PathKind
		path string
		says string
	}{
		{platen.PathCombinedSubmission, "{{ combined_submission_id }}", ""},
		{platen.PathCombinedSubmission, "{{ timestamp }}", "timestamp is not unique"},
		{platen.PathTemplateVersion, platen.DefaultTemplateVersionPath, ""},
		{platen.PathTemplateVersion, "{{ template_id }}.html", "Add {{ template_version }}."},
	} {
		warnings, err := keys.Check(t.Context(), test.kind, test.path)
		if err != nil || (len(warnings) > 0) != (test.says != "") || !strings.Contains(strings.Join(warnings, ""), test.says) {
			t.Errorf("%s: %q %v", test.path, warnings, err)
		}
	}
}

func TestKeysOfOtherKindsR53(t *testing.T) {
	t.Parallel()
	at := time.Date(2018, 5, 9, 9, 45, 31, 0, time.UTC)
	for _, test := range []struct {
		of         Document
		path, want string
	}{
		{Document{Kind: platen.PathTemplateVersion, TemplateID: "tpl_1", TemplateVersion: "3", At: at}, platen.DefaultTemplateVersionPath, "templates/tpl_1/3.html"},
		{Document{Kind: platen.PathTemplateVersion, AccountID: "acc_1", TemplateName: "A/B", At: at}, "{{ account_id }}/{{ template_name }}/{{ timestamp }}{{ submission_id }}", "acc_1/A_B/20180509094531"},
		{Document{Kind: platen.PathCombinedSubmission, CombinedSubmissionID: "com_1", Extension: "pdf", At: at, Metadata: []byte(`{"a":"x/y"}`)}, "{{ metadata.a }}/{{ combined_submission_id }}.{{ extension }}", "x_y/com_1.pdf"},
	} {
		if key, err := keys.Key(t.Context(), test.path, test.of); err != nil || key != test.want {
			t.Errorf("%s: %q %v, want %q", test.path, key, err, test.want)
		}
	}
}

func TestValuesAreWhatAKeyPrintsR55(t *testing.T) {
	t.Parallel()
	d := Document{Kind: platen.PathSubmission, TemplateName: "A B", SubmissionID: "sub_1", Metadata: []byte(`{"name":"Ü/1","n":1.50,"deep":{"a":"b"},"odd\"name":"x","list":["a b",2]}`)}
	values, err := keys.Values(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, value := range values {
		got[value.Name] = value.Value
	}
	for name, want := range map[string]string{"template_name": "A_B", "submission_id": "sub_1", "metadata.name": "__1", "metadata.n": "1.5", `metadata.odd"name`: "", "metadata.list": "a_b2"} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	replaced, err := keys.Replaced(t.Context(), "{{ metadata.name }}{{ template_name }}{{ metadata.n }}{{ submission_id }}{{ metadata.name }}", d)
	if err != nil || len(replaced) != 2 || !strings.Contains(replaced[0], `"Ü/1" is printed as "__1"`) {
		t.Errorf("%q %v", replaced, err)
	}
	if mistake := CheckKey("a/../b"); mistake == nil || CheckKey("a/b.txt") != nil {
		t.Error("a key by hand is not checked")
	}
}
