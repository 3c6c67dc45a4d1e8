package liquid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"platen/sandbox"
)

var shared *Engine

func TestMain(m *testing.M) {
	sandbox.Main()
	var err error
	if shared, err = New(Options{Workers: 2, UID: 61234}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

func renderOne(t *testing.T, source, vars string) (string, error) {
	t.Helper()
	texts, err := shared.Render(context.Background(), "", []Source{{"html", source}}, json.RawMessage(vars))
	return texts["html"], err
}

const data = `{
	"name": "Ada <&>", "count": 3, "price": 3.35, "big": 12345678901234567890, "exact": 1.10, "none": null,
	"yes": true, "no": false, "blank_text": "  ", "list": ["b", "A", "c"], "numbers": [3, 1, 2], "nothing": [],
	"person": {"name": "Ada", "age": 36, "address": {"city": "London"}},
	"people": [{"name": "bob", "age": 5}, {"name": "Al", "age": 7}, {"age": 1}],
	"grüße": "Grüße", "when": "2018-05-09T09:45:31Z", "sentence": "one two three"
}`

func TestTemplatesRenderAsLiquidDocuments(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		// outputs and data
		``:                                  ``,
		`plain } text %} }} { % {`:          `plain } text %} }} { % {`,
		`{{ name }}`:                        `Ada <&>`,
		`{{ name | escape }}`:               `Ada &lt;&amp;&gt;`,
		`{{ count }} {{ price }} {{ big }}`: `3 3.35 12345678901234567890`,
		`{{ exact }}`:                       `1.1`,
		`{{ yes }} {{ no }} {{ none }}{{ missing }}{{ missing.deep[3].er }}`: `true false `,
		`{{ person.address.city }} {{ person["name"] }} {{ list[0] }}`:       `London Ada b`,
		`{{ list[-1] }} {{ list.first }} {{ list.last }} {{ list.size }}`:    `c b c 3`,
		`{{ person }}`:                                `{"address":{"city":"London"},"age":36,"name":"Ada"}`,
		`{{ list }}`:                                  `bAc`,
		`{{ grüße }}`:                                 `Grüße`,
		"{{\n name\n | upcase\n}}":                    `ADA <&>`,
		"{{ 'a\nb' }}":                                "a\nb",
		`{{ "it's" }} {{ 'say "x"' }}`:                `it's say "x"`,
		`{{ "C:\new\" }}`:                             `C:\new\`,
		`{{ "{{" }}{{ '{%' }}`:                        `{{{%`,
		`{{ 99999999999999999999 }}`:                  `100000000000000000000`,
		`{{ -1 }} {{- 5 }}`:                           `-15`,
		`{{ name | default : "x" }}`:                  `Ada <&>`,
		`{{ no | default: true, allow_false: true }}`: `false`,
		`{{ missing | default: "-" }}`:                `-`,
		// white space
		"a \n {{- 1 -}} \n b":                                    `a1b`,
		"a \n {%- if true -%} \n b \n {%- endif -%} \n c":        `abc`,
		"a {%- comment -%} x {%- endcomment -%} b":               `ab`,
		"a {%- raw %} {{ x }} {% endraw -%} b":                   `a {{ x }} b`,
		"a {%- # note -%} b":                                     `ab`,
		"a\r\n{{ count }}\r\n":                                   "a\r\n3\r\n",
		"{% liquid\n assign a = 1\n # note\n\n echo a\n %}{{a}}": `11`,
		"x {%- liquid\n if yes\n  echo name\n endif -%} y":       `xAda <&>y`,
		// tags
		`{% if count > 2 and yes %}a{% elsif no %}b{% else %}c{% endif %}`:                                                      `a`,
		`{% if (count == 2) or (price <= 3.35) %}a{% endif %}`:                                                                  `a`,
		`{% if count <> 2 %}a{% endif %}`:                                                                                       `a`,
		`{% unless no %}a{% else %}b{% endunless %}`:                                                                            `a`,
		`{% if list contains "A" %}a{% endif %}`:                                                                                `a`,
		`{% if nothing == empty %}a{% endif %}{% if name != empty %}b{% endif %}`:                                               `ab`,
		`{% if blank_text == blank %}a{% endif %}{% if none == blank %}b{% endif %}`:                                            `ab`,
		`{% if none == nil and missing == null %}a{% endif %}`:                                                                  `a`,
		`{% case count %}{% when 1, 2 %}a{% when 3 or 4 %}b{% else %}c{% endcase %}`:                                            `b`,
		`{% for x in list %}{{ forloop.index }}{{ x }}{% unless forloop.last %},{% endunless %}{% endfor %}`:                    `1b,2A,3c`,
		`{% for x in (1..count) reversed %}{{ x }}{% endfor %}`:                                                                 `321`,
		`{% for x in numbers limit: 1 offset: 1 %}{{ x }}{% endfor %}`:                                                          `1`,
		`{% for x in numbers, limit:2 %}{{ x }}{% endfor %}`:                                                                    `31`,
		`{% for x in missing %}a{% else %}b{% endfor %}`:                                                                        `b`,
		`{% for x in nothing %}a{% else %}b{% endfor %}`:                                                                        `b`,
		`{% for x in (1..9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}`: `13`,
		`{% for x in list %}{% cycle "a", "b" %}{% cycle "g": "1", "2" %}{% endfor %}`:                                          `a1b2a1`,
		`{% for field in person %}{{ field[0] }},{% endfor %}`:                                                                  `address,age,name,`,
		`{% tablerow x in list cols: 2 %}{{ x }}{% endtablerow %}`:                                                              `<tr class="row1"><td class="col1">b</td><td class="col2">A</td></tr><tr class="row2"><td class="col1">c</td></tr>`,
		`{% assign a = count | plus: 1 %}{% for i in (1..a) %}{{ i }}{% endfor %}{{ numbers[a] }}`:                              `1234`,
		`{% assign i = count | minus: 2 %}{{ numbers[i] }}`:                                                                     `1`,
		`{% capture x %}<{{ name }}>{% endcapture %}{{ x | size }}`:                                                             `9`,
		`{% capture 'x' %}y{% endcapture %}{{ x }}`:                                                                             `y`,
		`{% comment %}{{ broken {% if %}{% endcomment %}a`:                                                                      `a`,
		`{% comment %}{% comment %}{% endcomment %}b{% endcomment %}a`:                                                          `a`,
		`{% raw %}{{ a }} {% if %} {{ {% endraw %}b`:                                                                            `{{ a }} {% if %} {{ b`,
		`{% echo name | downcase %}`:                                                                                            `ada <&>`,
		// numbers are counted as they are written
		`{{ 0.1 | times: 3 }} {{ price | times: count }} {{ 0.1 | plus: 0.2 }}`:                          `0.3 10.05 0.3`,
		`{{ 7 | divided_by: 2 }} {{ 7.5 | divided_by: 2 }} {{ 7 | divided_by: 2.0 }}`:                    `3 3.75 3.5`,
		`{{ 1.005 | round: 2 }} {{ -1.5 | round }} {{ 2.5 | round }} {{ 4.6 | floor }} {{ 4.2 | ceil }}`: `1.01 -2 3 4 5`,
		`{{ "1" | plus: "2" }} {{ "x" | plus: 1 }} {{ none | plus: 1 }}`:                                 `3 1 1`,
		`{{ people | sum: "age" }} {{ -7 | modulo: 3 }} {{ -5 | abs }}`:                                  `13 2 5`,
		`{{ 9223372036854775807 | plus: 1 }}`:                                                            `9223372036854775808`,
		// filters
		`{{ when | date: "%d.%m.%Y %H:%M" }}`:                                                        `09.05.2018 09:45`,
		`{{ missing | date: "%Y" }}{{ "soon" | date: "%Y" }}`:                                        `soon`,
		`{{ list | sort_natural | join: "," }} {{ numbers | sort | join }}`:                          `A,b,c 1 2 3`,
		`{{ people | sort_natural: "name" | map: "age" | join: " " }}`:                               `7 5 1`,
		`{{ people | where: "name", "Al" | map: "age" | first }}`:                                    `7`,
		`{{ "Liquid" | slice: -2, -1 }}{{ "Liquid" | slice: -3, 2 }}{{ list | slice: 1, 9 | join }}`: `uiA c`,
		`{{ sentence | split: " " | reverse | join: "-" | truncate: 9, "" }}`:                        `three-two`,
		`{{ missing | upcase | append: "x" | size }}`:                                                `1`,
		`{{ person | json }}`: `{"address":{"city":"London"},"age":36,"name":"Ada"}`,
	} {
		got, err := renderOne(t, source, data)
		if err != nil || got != want {
			t.Errorf("%s\n got %q, %v\nwant %q", source, got, err, want)
		}
		if err := shared.Check(context.Background(), Source{"html", source}); err != nil {
			t.Errorf("Check of %s: %v", source, err)
		}
	}
}

func TestTheGuideNamesEveryFilter(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(guide), "\nFilters: `")
	list, _, _ = strings.Cut(list, "`")
	if named, known := strings.Fields(list), slices.Sorted(maps.Keys(standard)); !slices.Equal(named, known) {
		t.Errorf("docs/templates.md names the filters\n%q, there are\n%q", named, known)
	}
}

func TestMistakesOfSyntaxAreFoundWithLineAndColumn(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`{{ name`:                     `1:1 "{{" is not closed with "}}"`,
		"a\n  {{ name }\n{{ other }}": `2:3 "{{" is not closed with "}}"`,
		"a\r\n{% if x\r\n{% endif %}": `2:1 "{%" is not closed with "%}"`,
		`ü日 {{ "x }}`:                 `1:7 this text is not closed with "`,
		`{{ "}}" }}`:                  `1:4 this text is not closed with "`,
		`a {{ }}`:                     `1:3 there is nothing to print between the braces`,
		`a {{- -}}`:                   `1:3 there is nothing to print between the braces`,
		`{% %}`:                       `1:1 a tag needs a name`,
		`{% nope %}`:                  `1:1 unknown tag "nope"`,
		`{% endnope %}`:               `1:1 unknown tag "endnope"`,
		"\n {% if a %}{% for b in c %}{% endfor %}":     `2:2 "if" is not closed with "endif"`,
		`{% if a %}{% endfor %}`:                        `1:11 "endfor" comes before "endif" has closed "if"`,
		`{% endif %}`:                                   `1:1 "endif" without "if"`,
		`{% else %}`:                                    `1:1 "else" without "if"`,
		`{% for a in b %}{% elsif c %}{% endfor %}`:     `1:17 "elsif" does not belong into "for"`,
		`{% if a %}{% else %}{% else %}{% endif %}`:     `1:21 "else" after "else"`,
		`{% comment %} {% raw %}`:                       `1:1 "comment" is not closed with "endcomment"`,
		`x{% raw %}{% endcomment %}`:                    `1:2 "raw" is not closed with "endraw"`,
		`{% capture %}{% endcapture %}`:                 `1:11 expected the name of a variable, found the end`,
		`{% capture a %}`:                               `1:1 "capture" is not closed with "endcapture"`,
		`{{ a | nope }}`:                                `1:8 unknown filter "nope"`,
		"{% assign x = a\n | upcase | nope: 1 %}":       `2:13 unknown filter "nope"`,
		`{% if a %}{% for x in b | nope %}`:             `1:27 unknown filter "nope"`,
		`{{ a | type }}`:                                `1:8 unknown filter "type"`,
		`{{ a | platen_pairs }}`:                        `1:8 unknown filter "platen_pairs"`,
		`{% platen_verbatim x %}`:                       `1:1 unknown tag "platen_verbatim"`,
		`{{ a | }}`:                                     `1:7 expected the name of a filter, found the end`,
		`{{ a | upcase: }}`:                             `1:15 expected a value, found the end`,
		`{{ a b }}`:                                     `1:6 unexpected "b"`,
		`{{ a.b. }}`:                                    `1:8 expected a name after the dot, found the end`,
		`{{ a[1 }}`:                                     `1:7 expected "]", found the end`,
		`{{ (1..3 }}`:                                   `1:9 expected ")", found the end`,
		`{{ a % 2 }}`:                                   `1:6 unexpected "%"`,
		`{{ äöü ! }}`:                                   `1:8 unexpected "!"`,
		`{{ and }}`:                                     `1:4 expected a value, found "and"`,
		`{% if a == %}{% endif %}`:                      `1:11 expected a value, found the end`,
		`{% if a = b %}{% endif %}`:                     `1:9 unexpected "="`,
		`{% if a == b | size %}{% endif %}`:             `1:14 a filter cannot be part of a comparison; assign its result first`,
		`{% if a %}{% elsif b c %}{% endif %}`:          `1:22 unexpected "c"`,
		`{% if %}{% endif %}`:                           `1:6 expected a value, found the end`,
		`{% assign a 1 %}`:                              `1:13 expected "=", found "1"`,
		`{% assign a.b = 1 %}`:                          `1:12 expected "=", found "."`,
		`{% for a of b %}{% endfor %}`:                  `1:10 expected "in", found "of"`,
		`{% for a in b backwards %}{% endfor %}`:        `1:15 unknown modifier "backwards" of a loop`,
		`{% for a in b offset: continue %}{% endfor %}`: `1:23 "offset: continue" is not supported`,
		`{% assign forloop = 1 %}`:                      `1:11 "forloop" is set by loops alone`,
		`{% break %}`:                                   `1:1 "break" outside of a loop`,
		`{% cycle "a" %}`:                               `1:1 "cycle" outside of a loop`,
		`{% for a in b %}{% cycle a %}{% endfor %}`:     `1:26 "cycle" takes texts in quotes, found "a"`,
		`{% include "/etc/passwd" %}`:                   `1:1 "include" is not available: a template cannot use other files`,
		`{% render "x" %}`:                              `1:1 "render" is not available: a template cannot use other files`,
		"{% liquid\n if a\n  nope\n endif %}":           `3:3 unknown tag "nope"`,
		"{% liquid\n comment %}":                        `2:2 a line of "liquid" must be a tag other than comment, raw and liquid`,
		strings.Repeat(`{% if a %}`, 101):               `1:1001 blocks are nested more than 100 deep`,
		`{{ ` + strings.Repeat(`(`, 101):                `1:1 "{{" is not closed with "}}"`,
		`{{ ` + strings.Repeat(`(`, 101) + `}}`:         `1:104 brackets are nested more than 100 deep`,
	} {
		for name, err := range map[string]error{
			"Check":  shared.Check(context.Background(), Source{"html", source}),
			"Render": func() error { _, err := renderOne(t, source, data); return err }(),
			"Variables": func() error {
				_, err := shared.Variables(context.Background(), Source{"html", source})
				return err
			}(),
		} {
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%s of %.60q: got %v, want %s", name, source, err, want)
			} else if got := fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Message); got != want || e.Kind != Syntax || e.Source != "html" {
				t.Errorf("%s of %.60q:\n got %s %s\nwant %s", name, source, got, e.Kind, want)
			}
		}
	}
}

func TestMistakesWithTheDataAreToldWithLineAndColumn(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"a\n{{ count | divided_by: 0 }}":                                                         `2:12 filter "divided_by": division by zero`,
		"{% if yes %}\n\n  {{ name | plus: 1 | modulo: 0 }}{% endif %}":                          `3:23 filter "modulo": division by zero`,
		"{% for x in list %}\n{% if yes %}\nüü {{ x | upcase: 1, 2, 3 }}{% endif %}{% endfor %}": `3:11 filter "upcase": it takes at most 1 argument, not 3`,
		"{{ (5..1) | join }}":                                 `1:13 filter "join": it cannot work with this value`,
		"\n{% for i in (1..name) %}{% endfor %}":              `2:1 "Ada <&>" cannot be used as a number`,
		"{% for i in list limit: name %}{% endfor %}":         `1:1 loop limit must be an integer`,
		"{% assign x = person | first %}\n{{ 5 | map: 'a' }}": `2:8 filter "map": 5 cannot be used as a list`,
		"{{ name | truncate: list }}":                         `1:11 filter "truncate": a list cannot be used as a number`,
		"{{ name | truncate: person }}":                       `1:11 filter "truncate": an object cannot be used as a number`,
		"{% if yes %}{{ '%' | url_decode }}{% endif %}":       `1:22 filter "url_decode": invalid URL escape "%"`,
	} {
		_, err := renderOne(t, source, data)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want %s", source, err, want)
		} else if got := fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Message); got != want || e.Kind != Render {
			t.Errorf("%q:\n got %s %s\nwant %s", source, got, e.Kind, want)
		}
	}
}

func TestErrorsNameTheSourceAndThePlace(t *testing.T) {
	t.Parallel()
	_, err := shared.Render(context.Background(), "", []Source{{"html", "fine"}, {"footer", "\n{{ x | nope }}"}}, nil)
	if want := `footer line 2, column 8: unknown filter "nope"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestT11AttacksEndInALimitOrAnErrorAndTheNextCallWorks(t *testing.T) {
	t.Parallel()
	e, err := start(Options{Workers: 1, UID: 61234}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for source, kinds := range map[string]string{
		`{% for i in (1..1000000000) %}{% endfor %}`:                                                                               "LIMIT",
		`{% assign a = "xxxxxxxxxxxxxxxx" %}{% for i in (1..64) %}{% assign a = a | append: a %}{% endfor %}{{ a }}`:               "LIMIT",
		`{% for i in (1..100000) %}{% for j in (1..100000) %}{% for k in (1..100000) %}{% endfor %}{% endfor %}{% endfor %}`:       "LIMIT",
		`{% assign a = "xxxxxxxx" %}{% for i in (1..64) %}{% assign a = a | replace: "x", a %}{% endfor %}`:                        "LIMIT",
		`{% assign a = "x,x" %}{% for i in (1..64) %}{% assign a = a | append: a | split: "," | join: ",x," %}{% endfor %}{{ a }}`: "LIMIT",
		`{% for i in (1..1000000000) %}{% cycle "a", "b" %}{% increment x %}{% endfor %}`:                                          "LIMIT SYNTAX",
		strings.Repeat(`{% if true %}`, 100_000) + strings.Repeat(`{% endif %}`, 100_000):                                          "SYNTAX LIMIT",
		strings.Repeat(`{% for i in (1..2) %}`, 200) + "x" + strings.Repeat(`{% endfor %}`, 200):                                   "SYNTAX LIMIT",
		`{{ ` + strings.Repeat(`(1..`, 50_000) + `1` + strings.Repeat(`)`, 50_000) + ` }}`:                                         "SYNTAX LIMIT RENDER",
		`{{ "x" | ` + strings.Repeat(`append: "x" | `, 50_000) + `append: "x" }}{% for i in (1..1000000000) %}{% endfor %}`:        "SYNTAX LIMIT",
		`{{ "x" | slice: -2, -1 }}{{ (5..1) | join }}`:                                                                             "RENDER",
		`{% include "../../keys/secret.key" %}`:                                                                                    "SYNTAX",
		`{% render "/proc/self/environ" %}`:                                                                                        "SYNTAX",
		`{{ (1..100000000) | join: "," }}`:                                                                                         "LIMIT",
		`{% for i in (1..3000000) %}xxxxxxxxxxxxxxxxxxxx{% endfor %}`:                                                              "LIMIT",
		`{% tablerow i in (1..3000000) %}xxxxxxxxxxxxxxxxxxxx{% endtablerow %}`:                                                    "LIMIT",
		`{% capture a %}{% for i in (1..100000000) %}xxxxxxxx{% endfor %}{% endcapture %}`:                                         "LIMIT",
		`{{ (5..1) | join }}`:                            "RENDER",
		`{% include "/etc/passwd" %}`:                    "SYNTAX",
		strings.Repeat(`{%`, 1<<20):                      "SYNTAX LIMIT",
		`{% comment %}` + strings.Repeat(`{% x `, 1<<19): "SYNTAX LIMIT",
	} {
		_, err := e.Render(context.Background(), "", []Source{{"html", source}}, nil)
		var found *Error
		if !errors.As(err, &found) || !strings.Contains(kinds, string(found.Kind)) {
			t.Errorf("%.60s: got %v, want %s", source, err, kinds)
		} else if strings.Contains(found.Message, "goroutine") || strings.Contains(found.Message, "interface") {
			t.Errorf("%.60s: the message shows the inside: %s", source, found.Message)
		}
		texts, err := e.Render(context.Background(), "", []Source{{"html", "{{ a }}"}}, json.RawMessage(`{"a":1}`))
		if err != nil || texts["html"] != "1" {
			t.Errorf("after %.60s: %q, %v", source, texts, err)
		}
	}
}

func TestThingsThatLookLikeCrashesOfTheEngineAreNone(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		`{{ people | sort_natural }}`, `{{ "a,," | split: "," | sort_natural | first }}`, `{{ none | slice: 1 }}`,
		`{{ list | slice: 9, -9 }}`, `{{ person | first }}`, `{{ 1 | join }}`, `{{ list | sort: person }}`, `{{ name | date: list }}`,
		`{{ 1 | date: "%1000000000Y" }}`, `{{ list[person] }}`, `{{ person[list] }}`, `{{ list == person }}`, `{% if list < 3 %}{% endif %}`, `{{ people | uniq | size }}`,
		`{{ people | where: list }}`, `{{ "a" | times: "1e999999999" }}`, `{{ 1 | round: 999999999 }}`, `{{ "9" | truncate: -5 }}`,
		`{% assign empty = 1 %}{{ empty }}`,
		`{% case list %}{% when person %}{% endcase %}`,
		`{{ "x" | replace: "", "yy" }}`, `{{ list | concat: none }}`, `{{ list | map: person }}`, `{{ (1..3) | first }}`, `{{ (1..3) }}`, `{{ empty }}{{ blank.x }}`,
		`{% tablerow x in list cols: 0 %}{% endtablerow %}`, `{% for x in list offset: 9 limit: -1 %}{% endfor %}`,
	} {
		if _, err := renderOne(t, source, data); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line != 1 {
				t.Errorf("%s: %v", source, err)
			}
		}
	}
}

func TestVariablesAreWhatASourceReadsFromOutside(t *testing.T) {
	t.Parallel()
	source := "{{ template_id }}/ü{{ metadata.customer.id | default: fallback }}\n" +
		`{% assign own = metadata['a b'].c %}{{ own.x }}{{ template_id }}` +
		`{% for p in pages limit: most %}{{ p.x }}{{ forloop.index }}{{ list[i].name }}{% else %}{{ p }}{% endfor %}` +
		`{% capture made %}{{ made }}{% endcapture %}{{ made }}{% if a.b == empty and c or nil %}{% endif %}` +
		`{% raw %}{{ no }}{% endraw %}{% comment %}{{ no }}{% endcomment %}{{ list[0].z }}`
	found, err := shared.Variables(context.Background(), Source{"path", source})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range found {
		got = append(got, fmt.Sprintf("%s@%d:%d", strings.Join(v.Path, "."), v.Line, v.Column))
	}
	want := []string{
		"template_id@1:4", "metadata.customer.id@1:23", "fallback@1:55",
		"metadata.a b.c@2:17", "pages@2:77", "most@2:90", "list@2:128", "i@2:133", "p@2:156",
		"made@2:193", "a.b@2:232", "c@2:249", "list.0.z@2:340",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAKeyRendersItsOwnSourcesWithEachData(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		for key := range 250 { // more than a worker keeps
			sources := []Source{{"html", fmt.Sprintf("%d {{ n }}{%% assign n = 0 %%}", key)}, {"header", "{{ n }}"}}
			texts, err := shared.Render(context.Background(), fmt.Sprint("key", key), sources, json.RawMessage(fmt.Sprintf(`{"n":%d}`, round)))
			want := map[string]string{"html": fmt.Sprintf("%d %d", key, round), "header": fmt.Sprint(round)}
			if err != nil || !reflect.DeepEqual(texts, want) {
				t.Fatalf("got %v, %v, want %v", texts, err, want)
			}
		}
	}
	// A key that is used for other sources after all does no harm.
	for _, text := range []string{"one", "two"} {
		texts, err := shared.Render(context.Background(), "same", []Source{{"html", text}}, nil)
		if err != nil || texts["html"] != text {
			t.Errorf("got %v, %v", texts, err)
		}
	}
}

func TestManyCallersGetTheirOwnTexts(t *testing.T) {
	t.Parallel()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for k := range 100 {
				texts, err := shared.Render(context.Background(), "shared", []Source{{"html", "{{ a }}-{{ b }}"}}, json.RawMessage(fmt.Sprintf(`{"a":%d,"b":%d}`, i, k)))
				if want := fmt.Sprintf("%d-%d", i, k); err != nil || texts["html"] != want {
					t.Errorf("got %v, %v, want %s", texts, err, want)
				}
			}
		})
	}
	callers.Wait()
}

func TestDataThatIsNoObjectIsRefused(t *testing.T) {
	t.Parallel()
	for _, vars := range []string{`[1]`, `"x"`, `{`, `{"a":}`} {
		if _, err := renderOne(t, "x", vars); err == nil || !strings.Contains(err.Error(), "must be a JSON object") {
			t.Errorf("%s: %v", vars, err)
		}
	}
	for _, vars := range []string{``, `null`, `{}`} {
		if got, err := renderOne(t, "x{{ a }}", vars); err != nil || got != "x" {
			t.Errorf("%q: %q, %v", vars, got, err)
		}
	}
}

// The limits of a call are what says that it was quick; not parallel, because
// the race detector makes it slow.
func TestALargeSourceIsCheckedQuickly(t *testing.T) {
	unit := "<td>{{ line.price | times: line.count | round: 2 }}</td>{% if line.note %}\n<b>x</b>{% endif %}"
	n := 2 << 20 / len(unit)
	err := shared.Check(context.Background(), Source{"html", strings.Repeat(unit, n) + "{{ oops"})
	var e *Error
	if !errors.As(err, &e) || e.Line != n+1 || e.Column != len("<b>x</b>{% endif %}")+1 {
		t.Errorf("got %v", err)
	}
	if err := shared.Check(context.Background(), Source{"html", strings.Repeat(unit, n)}); err != nil {
		t.Error(err)
	}
}

func BenchmarkInvoice(b *testing.B) {
	source := `<h1>{{ n }}</h1>{% for l in lines %}<tr><td>{{ forloop.index }}</td><td>{{ l.text | escape }}</td><td>{{ l.qty | times: l.price | round: 2 }}</td></tr>{% endfor %}`
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf(`{"text":"Position <x> of the list","qty":%d,"price":3.35}`, i))
	}
	vars := json.RawMessage(`{"n":"R-77","lines":[` + strings.Join(lines, ",") + `]}`)
	for b.Loop() {
		if _, err := shared.Render(context.Background(), "invoice", []Source{{"html", source}}, vars); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckOf2MB(b *testing.B) {
	unit := "<td>{{ line.price | times: line.count | round: 2 }}</td>{% if line.note %}\n<b>x</b>{% endif %}"
	source := Source{"html", strings.Repeat(unit, 2<<20/len(unit))}
	for b.Loop() {
		if err := shared.Check(context.Background(), source); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzCheckNeverFailsOtherThanWithAnError(f *testing.F) {
	for _, s := range []string{`{{ a | b: "c" }}`, `{% for a in (1..b) %}{% endfor %}`, "{% liquid\n echo a\n%}", `{% raw %}{{{% endraw %}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, bad := compile(Source{"x", source})
		if bad == nil && tpl.engine == nil {
			t.Error("neither a template nor an error")
		}
		if bad != nil && bad.Kind == Syntax && bad.Line == 0 {
			t.Errorf("no place: %v", bad)
		}
	})
}
