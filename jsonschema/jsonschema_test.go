package jsonschema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"platen/sandbox"
)

var shared *Checker

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

func violations(t *testing.T, schema, data string) []string {
	t.Helper()
	found, err := shared.Validate(context.Background(), json.RawMessage(schema), json.RawMessage(data))
	if err != nil {
		t.Errorf("%s of %s: %v", data, schema, err)
	}
	told := []string{}
	for _, v := range found {
		told = append(told, fmt.Sprintf("%s|%s|%s", v.Pointer, v.Keyword, v.Message))
	}
	return told
}

func TestR2_4EachViolationIsToldWithItsPlaceAndKeyword(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema, data string
		want         []string
	}{
		{`{}`, `{"a":1}`, nil},
		{`true`, `null`, nil},
		{`false`, `1`, []string{`|false|must not be here`}},
		{`{"type":"number"}`, `"x"`, []string{`|type|must be a number, but is a string`}},
		{`{"type":["null","string","boolean"]}`, `[]`, []string{`|type|must be null, true or false or a string, but is an array`}},
		{`{"type":"integer"}`, `1.5`, []string{`|type|must be a whole number, but has a fraction`}},
		{`{"type":"integer"}`, `1.0`, nil},
		{`{"type":"integer"}`, `1e2`, nil},
		{`{"type":"object"}`, `null`, []string{`|type|must be an object, but is null`}},
		{`{"const":{"a":1}}`, `2`, []string{`|const|must be {"a":1}`}},
		{`{"enum":["a"]}`, `"b"`, []string{`|enum|must be "a"`}},
		{`{"enum":["a<",2,null]}`, `"b"`, []string{`|enum|must be "a<", 2 or null`}},
		{`{"enum":[1,2,3,4,5,6,7,8,9,10,11,12]}`, `0`, []string{`|enum|must be one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more`}},
		{`{"enum":["` + strings.Repeat("ü", 100) + `"]}`, `0`, []string{`|enum|must be "` + strings.Repeat("ü", 60) + `…"`}},
		{`{"minimum":1}`, `0.5`, []string{`|minimum|must be at least 1, but is 0.5`}},
		{`{"maximum":0.1}`, `1e1`, []string{`|maximum|must be at most 0.1, but is 10`}},
		{`{"exclusiveMinimum":0}`, `0`, []string{`|exclusiveMinimum|must be more than 0, but is 0`}},
		{`{"exclusiveMaximum":0}`, `-0.0`, []string{`|exclusiveMaximum|must be less than 0, but is 0`}},
		{`{"multipleOf":0.01}`, `19.99`, nil},
		{`{"multipleOf":0.01}`, `19.999`, []string{`|multipleOf|must be a multiple of 0.01, but is 19.999`}},
		{`{"minLength":2}`, `"ü"`, []string{`|minLength|must have at least 2 characters, but has 1`}},
		{`{"maxLength":1}`, `"日本"`, []string{`|maxLength|must have at most 1 character, but has 2`}},
		{`{"pattern":"^[A-Z]{2}\\d+$"}`, `"a1"`, []string{`|pattern|must match the regular expression ^[A-Z]{2}\d+$`}},
		{`{"minItems":1}`, `[]`, []string{`|minItems|must have at least 1 item, but has 0`}},
		{`{"maxItems":1}`, `[1,2]`, []string{`|maxItems|must have at most 1 item, but has 2`}},
		{`{"uniqueItems":true}`, `[1,{"a":1},{"a":1.0}]`, []string{`|uniqueItems|must have no item twice, but those at 1 and 2 are equal`}},
		{`{"contains":{"const":1}}`, `[2,3]`, []string{`|contains|must have an item that is as "contains" has it`}},
		{`{"contains":{"const":1},"minContains":2}`, `[1,3]`, []string{`|minContains|must have at least 2 items as "contains" has it, but has 1`}},
		{`{"contains":{"const":1},"maxContains":1}`, `[1,1]`, []string{`|maxContains|must have at most 1 item as "contains" has it, but has 2`}},
		{`{"prefixItems":[{"type":"string"}],"items":false}`, `[1,2]`, []string{`/0|type|must be a string, but is a number`, `/1|items|must not be here`}},
		{`{"minProperties":2}`, `{"a":1}`, []string{`|minProperties|must have at least 2 properties, but has 1`}},
		{`{"maxProperties":0}`, `{"a":1}`, []string{`|maxProperties|must have at most 0 properties, but has 1`}},
		{`{"required":["a"]}`, `{}`, []string{`|required|must have the property "a"`}},
		{`{"required":["c","a","b"]}`, `{"b":1}`, []string{`|required|must have the properties "c" and "a"`}},
		{`{"properties":{"x":{"required":["y"]}}}`, `{"x":{}}`, []string{`/x|required|must have the property "y"`}},
		{`{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, []string{`|dependentRequired|must have the property "b", because it has "a"`}},
		{`{"properties":{"a":{}},"additionalProperties":false}`, `{"z":1,"a":1,"y":1}`, []string{`|additionalProperties|must not have the properties "y" and "z"`}},
		{`{"additionalProperties":{"type":"string"}}`, `{"z":1}`, []string{`/z|type|must be a string, but is a number`}},
		{`{"patternProperties":{"^a":{"type":"string"}}}`, `{"ab":1,"b":1}`, []string{`/ab|type|must be a string, but is a number`}},
		{`{"properties":{"a":false}}`, `{"a":1}`, []string{`/a|properties|must not be here`}},
		{`{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}`, `{"a":1,"b":2}`, []string{`/b|unevaluatedProperties|must not be here`}},
		{`{"propertyNames":{"pattern":"^[a-z]+$"}}`, `{"A":1}`, []string{`|propertyNames|must not have the property "A": its name must match the regular expression ^[a-z]+$`}},
		{`{"not":{"type":"string"}}`, `"x"`, []string{`|not|must not be as "not" has it`}},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"a":1}`, []string{`|required|must have the property "b"`}},
		{`{"dependentSchemas":{"a":{"properties":{"b":{"type":"string"}}}}}`, `{"a":1,"b":1}`, []string{`/b|type|must be a string, but is a number`}},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}`, `1`, []string{`|type|must be a string, but is a number`}},
		{`{"$id":"https://example.com/a/b","$ref":"c","$defs":{"x":{"$id":"c","type":"string"}}}`, `1`, []string{`|type|must be a string, but is a number`}},
		{`{"$schema":"https://json-schema.org/draft/2020-12/schema#","type":"string"}`, `1`, []string{`|type|must be a string, but is a number`}},
		{`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, `{"type":1}`, []string{`/type|anyOf|must fit one of the alternatives: must be "array", "boolean", "integer", "null", "number", "object" or "string"`}},
		{`{"definitions":{"a":{"type":"string"}},"items":{"$ref":"#/definitions/a"}}`, `[1]`, []string{`/0|type|must be a string, but is a number`}},
		// trees, as data has them
		{`{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#"}}},"required":["name"]}`, `{"kids":[{"name":1,"kids":[{}]},{}],"name":2}`,
			[]string{`/kids/0/kids/0|required|must have the property "name"`, `/kids/1|required|must have the property "name"`}},
		// names that pointers escape
		{`{"additionalProperties":{"additionalProperties":{"type":"string"}}}`, `{"a/b":{"c~d":1,"":2," ":3,"ü":4}}`, []string{
			`/a~1b/c~0d|type|must be a string, but is a number`, `/a~1b/|type|must be a string, but is a number`,
			`/a~1b/ |type|must be a string, but is a number`, `/a~1b/ü|type|must be a string, but is a number`}},
	} {
		if c.want == nil {
			c.want = []string{}
		}
		if got := violations(t, c.schema, c.data); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s of %s:\n got %q\nwant %q", c.data, c.schema, got, c.want)
		}
	}
}

func TestR2_4AlternativesAreOneViolation(t *testing.T) {
	t.Parallel()
	const contact = `{"type":"object","required":["email"],"properties":{"email":{"type":"string"},"name":{"type":"string"}}}`
	for _, c := range []struct{ schema, data, want string }{
		{`{"anyOf":[{"type":"string"},{"type":"number"}]}`, `[]`, `|anyOf|must be a number or a string, but is an array`},
		{`{"anyOf":[{"type":"null"},` + contact + `]}`, `{"email":1}`, `|anyOf|must fit one of the alternatives: /email must be a string, but is a number`},
		{`{"anyOf":[{"type":"null"},` + contact + `]}`, `{"name":1}`, `|anyOf|must fit one of the alternatives: must have the property "email" (and 1 more)`},
		{`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{}`, `|oneOf|must fit one of the alternatives: must have the property "a"; or must have the property "b"`},
		{`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"b":1,"a":1}`, `|oneOf|must fit only one of the alternatives, but fits number 1 and number 2`},
		{`{"oneOf":[{"const":1},{"const":2},{"const":3},{"const":4},{"const":5}]}`, `0`, `|oneOf|must fit one of the alternatives: must be 1; or must be 2; or must be 3; or one of 2 others`},
		{`{"properties":{"a":{"anyOf":[{"oneOf":[{"const":1}]},{"const":2}]}}}`, `{"a":0}`, `/a|anyOf|must fit one of the alternatives: must fit one of the alternatives; or must be 2`},
		{`{"anyOf":[false,false]}`, `1`, `|anyOf|must fit one of the alternatives: must not be here`},
	} {
		if got := violations(t, c.schema, c.data); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s of %s:\n got %q\nwant %q", c.data, c.schema, got, c.want)
		}
	}
}

func TestViolationsComeInTheOrderOfTheDataAndAreBounded(t *testing.T) {
	t.Parallel()
	var fields []string
	for i := range 300 {
		fields = append(fields, fmt.Sprintf(`"k%d":[%d,"x",{"b":1,"a":2}]`, i*7919%300, i))
	}
	schema := `{"additionalProperties":{"items":{"additionalProperties":{"type":"string","maximum":1},"maxLength":0}}}`
	data := "{" + strings.Join(fields, ",") + "}"
	var want []string
	for i := range 34 {
		name := fmt.Sprintf("/k%d", i*7919%300)
		want = append(want, name+"/1|maxLength", name+"/2/b|type", name+"/2/a|type")
	}
	for range 3 {
		got := violations(t, schema, data)
		if len(got) != MaxViolations {
			t.Fatalf("%d violations", len(got))
		}
		for i := range got {
			if !strings.HasPrefix(got[i], want[i]+"|") {
				t.Fatalf("violation %d is %s, want %s", i, got[i], want[i])
			}
		}
	}
	// What a schema says twice is told once, and what it says of one value by keyword.
	got := violations(t, `{"allOf":[{"minLength":3},{"minLength":3},{"pattern":"x"},{"maxLength":0}]}`, `"aa"`)
	if strings.Join(got, " ") != `|maxLength|must have at most 0 characters, but has 2 |minLength|must have at least 3 characters, but has 2 |pattern|must match the regular expression x` {
		t.Errorf("got %q", got)
	}
	// What is told stays short, however long names and values are.
	long := strings.Repeat("x", 1<<20)
	for _, c := range [][2]string{
		{`{"required":["` + long + `","b"]}`, `{}`},
		{`{"additionalProperties":false}`, `{"` + long + `":1}`},
		{`{"additionalProperties":{"type":"string"}}`, `{"` + long + `":1}`},
		{`{"pattern":"^` + strings.Repeat("y", 1000) + `$"}`, `"` + long + `"`},
		{`{"const":["` + long + `"]}`, `1`},
		{`{"anyOf":[{"required":["` + long + `"]},{"enum":["` + long + `",2,3]}]}`, `{}`},
		{`{"propertyNames":{"maxLength":1}}`, `{"` + long + `":1}`},
		{`{"maximum":1}`, strings.Repeat("9", 1000)},
	} {
		got := violations(t, c[0], c[1])
		if len(got) != 1 || len(got[0]) > maxMessage+maxPointer {
			t.Errorf("%.60s: %d violations, %.2000q", c[0], len(got), got)
		}
	}
}

func TestNumbersAreComparedByAllOfTheirDigits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema, data string
		valid        bool
	}{
		{`{"maximum":12345678901234567890123}`, `12345678901234567890123`, true},
		{`{"maximum":12345678901234567890123}`, `12345678901234567890123.0000000000000001`, false},
		{`{"const":9007199254740993}`, `9007199254740992`, false},
		{`{"const":0.1}`, `1e-1`, true},
		{`{"enum":[0.30000000000000004]}`, `0.3`, false},
		{`{"type":"integer"}`, `12345678901234567890123.5`, false},
		{`{"multipleOf":0.1}`, `12345678901234567890123.1`, true},
		{`{"uniqueItems":true}`, `[9007199254740993,9007199254740992]`, true},
		{`{"minimum":1e1000}`, `1e999`, false},
		{`{"multipleOf":1e-1000}`, `1e1000`, true},
	} {
		if got := violations(t, c.schema, c.data); (len(got) == 0) != c.valid {
			t.Errorf("%s of %s: %q", c.data, c.schema, got)
		}
	}
}

func TestFormatsAreAsserted(t *testing.T) {
	t.Parallel()
	for format, texts := range map[string][2]string{ // one that is, one that is not
		"date":                  {"2024-02-29", "2023-02-29"},
		"time":                  {"13:45:00Z", "25:00:00Z"},
		"date-time":             {"2026-01-31T13:45:00.5+01:00", "2026-01-31 13:45"},
		"duration":              {"P1DT12H", "1 day"},
		"period":                {"2026-01-31T13:45:00Z/P1D", "2026"},
		"email":                 {"ada@example.com", "ada"},
		"hostname":              {"example.com", "-x"},
		"ipv4":                  {"192.0.2.1", "192.0.2.256"},
		"ipv6":                  {"2001:db8::1", "192.0.2.1"},
		"uri":                   {"https://example.com/a?b#c", "/a"},
		"iri":                   {"https://example.com/ä", "/ä"},
		"uri-reference":         {"/a", `a\b`},
		"iri-reference":         {"/ä", `a\b`},
		"uri-template":          {"/a/{b}", "%"},
		"uuid":                  {"123e4567-e89b-12d3-a456-426614174000", "123"},
		"json-pointer":          {"/a~1b", "a"},
		"relative-json-pointer": {"1/a", "/a"},
		"regex":                 {"^a$", "(?=a)"},
		"semver":                {"1.2.3", "1.2"},
	} {
		schema := `{"format":"` + format + `"}`
		for i, text := range texts {
			data, _ := json.Marshal(text)
			got := violations(t, schema, string(data))
			if len(got) != i || i == 1 && (!strings.HasPrefix(got[0], "|format|") || strings.Contains(got[0], "of the format")) {
				t.Errorf("%s of %s: %q", data, schema, got)
			}
		}
		if got := violations(t, schema, `1`); len(got) != 0 { // a format is one of strings
			t.Errorf("1 of %s: %q", schema, got)
		}
	}
	if got := violations(t, `{"format":"currency"}`, `"x"`); len(got) != 0 {
		t.Errorf("an unknown format: %q", got)
	}
	// Nor are contents.
	if got := violations(t, `{"contentMediaType":"application/json","contentEncoding":"base64","contentSchema":false}`, `"{"`); len(got) != 0 {
		t.Errorf("contents: %q", got)
	}
}

func TestAbsentDataIsAnEmptyObject(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","required":["a"]}`
	for data, want := range map[string]string{
		"":     `|required|must have the property "a"`,
		" \n":  `|required|must have the property "a"`,
		"null": `|type|must be an object, but is null`,
	} {
		if got := violations(t, schema, data); len(got) != 1 || got[0] != want {
			t.Errorf("%q: %q", data, got)
		}
	}
	if found, err := shared.Validate(context.Background(), json.RawMessage(`{"type":"object"}`), nil); err != nil || found != nil {
		t.Errorf("%v, %v", found, err)
	}
}

func TestDataThatCannotBeWorkedOnIsAViolation(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`{`:                                      `|type|is not valid JSON: unexpected EOF`,
		`{} {}`:                                  `|type|is not valid JSON: invalid character after top-level value`,
		strings.Repeat("[", 100_000):             `|type|is nested more than 500 deep`,
		nest("[", "1", "]", 501):                 `|type|is nested more than 500 deep`,
		nest(`{"a":`, "1", "}", 501):             `|type|is nested more than 500 deep`,
		`{"z":1e999999999,"a":[1e-1001]}`:        `/a/0|type|must be a number with at most 1000 digits and an exponent from -1000 to 1000`,
		`[1e99999999999999999999]`:               `/0|type|must be a number with at most 1000 digits and an exponent from -1000 to 1000`,
		`[1, ` + strings.Repeat("9", 1001) + `]`: `/1|type|must be a number with at most 1000 digits and an exponent from -1000 to 1000`,
	} {
		if got := violations(t, `{}`, data); len(got) != 1 || got[0] != want {
			t.Errorf("%.60s: %q", data, got)
		}
	}
	if got := violations(t, `{"items":{"$ref":"#"}}`, nest("[", "1", "]", 500)); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func nest(open, inside, close string, depth int) string {
	return strings.Repeat(open, depth) + inside + strings.Repeat(close, depth)
}

func TestR2_4MistakesOfASchemaAreToldWithTheirPlace(t *testing.T) {
	t.Parallel()
	const outside = `which is outside of this schema; nothing is loaded from elsewhere`
	for schema, want := range map[string]string{
		``:                                       `|is not valid JSON: EOF`,
		`{`:                                      `|is not valid JSON: unexpected EOF`,
		`[]`:                                     `|must be true or false or an object, but is an array`,
		`{"type":"text"}`:                        `/type|must fit one of the alternatives: must be "array", "boolean", "integer", "null", "number", "object" or "string"`,
		`{"type":1}`:                             `/type|must fit one of the alternatives: must be "array", "boolean", "integer"`,
		`{"properties":{"a/b":{"minimum":"1"}}}`: `/properties/a~1b/minimum|must be a number, but is a string`,
		`{"properties":{"x":{"required":"y"}}}`:  `/properties/x/required|must be an array, but is a string`,
		`{"required":["a","a"]}`:                 `/required|must have no item twice, but those at 0 and 1 are equal`,
		`{"minLength":-1}`:                       `/minLength|must be at least 0, but is -1`,
		`{"multipleOf":0}`:                       `/multipleOf|must be more than 0, but is 0`,
		`{"items":[{}]}`:                         `/items|must be true or false or an object, but is an array`,
		`{"multipleOf":1e-9999}`:                 `/multipleOf|must be a number with at most 1000 digits and an exponent from -1000 to 1000`,
		`{"enum":[1,{"a":1e999999999}]}`:         `/enum/1/a|must be a number with at most 1000 digits`,
		strings.Repeat("[", 100_000):             `|is nested more than 500 deep`,
		strings.Repeat(`{"items":`, 100_000):     `|is nested more than 500 deep`,
		nest(`{"items":`, "{}", "}", 501):        `|is nested more than 500 deep`,
		// drafts
		`{"$schema":"http://json-schema.org/draft-07/schema#"}`:      `/$schema|names "http://json-schema.org/draft-07/schema#", but schemas here are of JSON Schema 2020-12: write "https://json-schema.org/draft/2020-12/schema", or leave it out`,
		`{"$schema":"https://json-schema.org/draft/2019-09/schema"}`: `/$schema|names "https://json-schema.org/draft/2019-09/schema", but`,
		`{"$schema":"https://example.com/mine"}`:                     `/$schema|names "https://example.com/mine", but`,
		`{"$schema":1}`:                                              `/$schema|must be a string, but is a number`,
		`{"$defs":{"a":{"$id":"https://example.com/a","$schema":"http://json-schema.org/draft-07/schema#"}},"$ref":"#/$defs/a"}`: `/$defs/a|names "another draft in $schema", but`,
		`{"$defs":{"a":{"$id":"https://example.com/a","$schema":"https://example.com/mine"}},"$ref":"#/$defs/a"}`:                `/$defs/a/$schema|names "https://example.com/mine", ` + outside,
		`{"items":{"$ref":"http://json-schema.org/draft-07/schema"}}`:                                                            `/items/$ref|names "http://json-schema.org/draft-07/schema", but`,
		// references
		`{"properties":{"a":{"$ref":"https://example.com/b.json"}}}`:       `/properties/a/$ref|names "https://example.com/b.json", ` + outside,
		`{"items":{"$dynamicRef":"https://example.com/b#x"}}`:              `/items/$dynamicRef|names "https://example.com/b#x", ` + outside,
		`{"items":{"$ref":"file:///etc/passwd"}}`:                          `/items/$ref|names "file:///etc/passwd", ` + outside,
		`{"items":{"$ref":"/etc/passwd"}}`:                                 `/items/$ref|names "/etc/passwd", ` + outside,
		`{"items":{"$ref":"other.json#/a"}}`:                               `/items/$ref|names "other.json#/a", ` + outside,
		`{"items":{"$ref":"urn:x:y"}}`:                                     `/items/$ref|names "urn:x:y", ` + outside,
		`{"$id":"https://example.com/a/","items":{"$ref":"b"}}`:            `/items/$ref|names "b", ` + outside,
		`{"$id":"file:///etc/","items":{"$ref":"passwd"}}`:                 `/items/$ref|names "passwd", ` + outside,
		`{"$ref":"#/$defs/nope"}`:                                          `/$ref|names "#/$defs/nope", which is not in this schema`,
		`{"$defs":{"a b":{"$ref":"#/$defs/%20x"}},"$ref":"#/$defs/a%20b"}`: `/$defs/a b/$ref|names "#/$defs/%20x", which is not in this schema`,
		`{"items":{"$ref":"#nope"}}`:                                       `/items/$ref|names "#nope", which is not in this schema`,
		`{"items":{"$dynamicRef":"#nope"}}`:                                `/items/$dynamicRef|names "#nope", which is not in this schema`,
		`{"$ref":"#/$defs/~2"}`:                                            `/$ref|names "#/$defs/~2", which is not in this schema`,
		`{"$ref":"#/examples/0","examples":[{"type":1}]}`:                  `/examples/0/type|must fit one of the alternatives: must be "array"`,
		`{"$ref":"%zz"}`:                                                   `/$ref|must be a URI or a relative reference`,
		`{"items":{"$ref":1}}`:                                             `/items/$ref|must be a string, but is a number`,
		`{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}`:              `/$defs/`,
		`{"$defs":{"a":{"$id":"x"},"b":{"$id":"x"}}}`:                      `/$defs/`,
		// references that lead back to where they are
		`{"$ref":"#"}`: `|leads back to itself without end`,
		`{"$dynamicAnchor":"a","$dynamicRef":"#a"}`: `|leads back to itself without end`,
		`{"items":{"$ref":"#/$defs/a"},"$defs":{"a":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}`: `/$defs/a|leads back to itself without end`,
		`{"dependentSchemas":{"a":{"if":{"$ref":"#"}}}}`: `|leads back to itself without end`,
		// regular expressions
		`{"properties":{"a":{"pattern":"^(?!x)"}}}`: `/properties/a/pattern|is a regular expression that cannot be used: invalid or unsupported Perl syntax: ` + "`(?!`" + `; it must be one of RE2's, which have no lookarounds and no backreferences`,
		`{"pattern":"(a)\\1"}`:                      `/pattern|is a regular expression that cannot be used: invalid escape sequence: ` + "`\\1`" + `; it`,
		`{"pattern":"["}`:                           `/pattern|is a regular expression that cannot be used: missing closing ]`,
		`{"patternProperties":{"[":{}}}`:            `/patternProperties|must not have the property "[": its name is a regular expression that cannot be used: missing closing ]`,
		`{"pattern":"(x{1000}){1000}"}`:             `/pattern|is a regular expression that cannot be used: invalid repeat count`,
	} {
		for name, err := range map[string]error{
			"Check": shared.Check(context.Background(), json.RawMessage(schema)),
			"Validate": func() error {
				_, err := shared.Validate(context.Background(), json.RawMessage(schema), nil)
				return err
			}(),
		} {
			var e *Error
			if !errors.As(err, &e) || e.Kind != Schema || !strings.HasPrefix(e.Pointer+"|"+e.Message, want) {
				t.Errorf("%s of %.100s:\n got %v\nwant %s", name, schema, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "platen:") {
				t.Errorf("the message shows the inside: %v", err)
			}
		}
	}
}

// Workers see no files. This is without one: a file that could be read is not.
func TestNoFileIsReadForAReference(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "string.json")
	if err := os.WriteFile(file, []byte(`{"type":"string"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{`{"$ref":"file://` + file + `"}`, `{"$id":"file://` + filepath.Dir(file) + `/","$ref":"string.json"}`} {
		if s, bad := compile([]byte(schema)); bad == nil || bad.Pointer != "/$ref" {
			t.Errorf("%s: %v, %v", schema, s, bad)
		}
	}
}

func TestSchemasAreChecked(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{
		`{}`, `true`, `false`, `{"$schema":"https://json-schema.org/draft/2020-12/schema"}`,
		`{"properties":{"$ref":{"type":"string"},"$schema":{"type":"string"}}}`, // names of properties
		`{"examples":[{"$ref":"https://example.com"}],"const":{"$schema":"x"}}`, // values
		`{"x-internal":1,"nullable":true,"title":"t","default":{}}`,
		`{"properties":{"kids":{"items":{"$ref":"#"}}}}`,
		`{"$dynamicAnchor":"node","properties":{"kids":{"items":{"$dynamicRef":"#node"}}}}`,
		`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`,
		`{"$ref":"https://json-schema.org/draft/2020-12/meta/core#/$defs/anchorString"}`,
		`{"$ref":"#x","$defs":{"a":{"$anchor":"x"}}}`,
		`{"pattern":"^\\p{L}+\\.\\d{1,3}(?:-[^/]+)?$"}`,
		nest(`{"items":`, "{}", "}", 250),
	} {
		if err := shared.Check(context.Background(), json.RawMessage(schema)); err != nil {
			t.Errorf("%.100s: %v", schema, err)
		}
	}
}

// numbered joins n texts that format makes of their number.
func numbered(n int, format string) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(format, i))
	}
	return strings.Join(parts, ",")
}

func TestAttacksEndInALimitOrAnAnswerAndTheNextCallWorks(t *testing.T) {
	t.Parallel()
	c, err := start(Options{Workers: 1, UID: 61234}, time.Second/2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	explosion := `{"$ref":"#/$defs/d0","$defs":{`
	for i := range 40 {
		explosion += fmt.Sprintf(`"d%d":{"%s":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, []string{"anyOf", "allOf"}[i%2], i+1, i+1)
	}
	explosion += `"d40":{"type":"string"}}}`
	var chain strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&chain, `"d%d":{"$ref":"#/$defs/d%d"},`, i, i+1)
	}
	megabytes := strings.Repeat("x", sizeLimit-10)
	for name, a := range map[string]struct{ schema, data, ends string }{
		"references that double":        {explosion, `1`, "LIMIT"},
		"references that double, valid": {strings.ReplaceAll(explosion, "anyOf", "allOf"), `"x"`, "LIMIT"},
		"a tree of alternatives":        {`{"anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}],"type":"array"}`, nest("[", "1", "]", 200), "LIMIT"},
		"unevaluated in a tree":         {`{"items":{"$ref":"#"},"anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}],"unevaluatedItems":false}`, nest("[", "1", "]", 200), "LIMIT 0 100"},
		"a cycle that is met by data alone": {
			`{"$ref":"#/$defs/a","$defs":{"a":{"$id":"a","$dynamicAnchor":"n","allOf":[{"$ref":"b"}]},"b":{"$id":"b","allOf":[{"$dynamicRef":"#n"}],"$defs":{"n":{"$dynamicAnchor":"n"}}}}}`, `1`, "SCHEMA"},
		"a long chain of references":  {`{"$ref":"#/$defs/d0","$defs":{` + chain.String() + `"d20000":{"type":"string"}}}`, `1`, "LIMIT 1"},
		"many schemas":                {`{"anyOf":[` + numbered(200_000, `{"a%d":1}`) + `]}`, `1`, "LIMIT"},
		"many identifiers":            {`{"$defs":{` + numbered(50_000, `"a%[1]d":{"$id":"a%[1]d"}`) + `}}`, `1`, "LIMIT"},
		"a deep schema":               {nest(`{"items":`, `{"type":"string"}`, "}", 400), nest("[", "1", "]", 400), "1 LIMIT"},
		"deep errors":                 {`{"items":{"$ref":"#"},"type":"array"}`, nest("[", numbered(200_000, "%d"), "]", 400), "100 LIMIT"},
		"a huge enum":                 {`{"items":{"enum":[` + numbered(400_000, "%d") + `]}}`, "[" + numbered(400_000, "-%d") + "]", "LIMIT"},
		"a huge enum of one":          {`{"enum":[` + numbered(400_000, "%d") + `]}`, `-1`, "1 LIMIT"},
		"a pattern made to backtrack": {`{"pattern":"^(a+)+$"}`, `"` + strings.Repeat("a", 1<<20) + `b"`, "1"},
		"a pattern of megabytes":      {`{"pattern":"` + strings.Repeat("(a|b)?", 500_000) + `"}`, `"` + megabytes[:1<<20] + `"`, "LIMIT 0"},
		"a pattern of many states":    {`{"pattern":"^(?:` + strings.Repeat("[ab]?", 900) + `){1,1}$"}`, `"` + strings.Repeat("a", 1<<20) + `"`, "LIMIT 1"},
		"many patterns":               {`{"patternProperties":{` + numbered(20_000, `"(%d|b){900}":{}`) + `}}`, `{"` + megabytes[:1<<20] + `":1}`, "LIMIT"},
		"unique numbers":              {`{"uniqueItems":true}`, "[" + numbered(500_000, "%d") + "]", "0 LIMIT"},
		"unique lists":                {`{"uniqueItems":true}`, "[" + numbered(300_000, "[[%d]]") + "]", "0 LIMIT"},
		"unique numbers of one value": {`{"uniqueItems":true}`, "[" + numbered(1000, "1e%d") + "," + numbered(1000, "1.0e%d") + "]", "1"},
		"an exponent that is a bomb":  {`{"multipleOf":1e-400}`, `1e999999999`, "1"},
		"exponents at the limit":      {`{"items":{"multipleOf":1e-1000}}`, "[" + strings.Repeat("1e1000,", 500_000) + "1" + "]", "LIMIT 0"},
		"long numbers":                {`{"items":{"multipleOf":` + strings.Repeat("7", 1000) + `}}`, "[" + strings.Repeat(strings.Repeat("7", 999)+",", 4000) + "1]", "LIMIT 100"},
		"a bomb in the schema":        {`{"multipleOf":1e999999999}`, `1`, "SCHEMA"},
		"a long string":               {`{"minLength":4194304}`, `"` + megabytes + `"`, "1"},
		"a long string and formats":   {`{"allOf":[{"format":"email"},{"format":"uri"},{"format":"date"},{"format":"ipv6"}]}`, `"` + megabytes + `"`, "4"},
		"many violations":             {`{"items":{"type":"string","minimum":9,"maximum":-9}}`, "[" + numbered(500_000, "%d") + "]", "100 LIMIT"},
		"many properties":             {`{"additionalProperties":false}`, "{" + numbered(300_000, `"k%d":1`) + "}", "1 LIMIT"},
		"many properties, each wrong": {`{"additionalProperties":{"type":"string"}}`, "{" + numbered(300_000, `"k%d":1`) + "}", "100 LIMIT"},
		"long pointers":               {`{"additionalProperties":{"additionalProperties":{"type":"string"}}}`, `{"` + strings.Repeat("~", 2<<20) + `":{` + numbered(100_000, `"k%d":1`) + "}}", "1 100 LIMIT"},
		"many empty lists":            {`{"items":{"type":"array"}}`, "[" + strings.Repeat("[],", 1<<20) + "[]]", "0 LIMIT"},
		"deep data":                   {`{"items":{"$ref":"#"}}`, strings.Repeat("[", 1<<20), "1"},
		"a large schema":              {strings.Repeat(" ", sizeLimit+1), `1`, "LIMIT"},
		"large data":                  {`{}`, strings.Repeat(" ", sizeLimit+1), "LIMIT"},
	} {
		found, err := c.Validate(context.Background(), json.RawMessage(a.schema), json.RawMessage(a.data))
		var e *Error
		ended := fmt.Sprint(len(found))
		if errors.As(err, &e) {
			ended = string(e.Kind)
		}
		if err != nil && e == nil || !strings.Contains(" "+a.ends+" ", " "+ended+" ") {
			t.Errorf("%s: got %.200v, %v, want %s", name, found, err, a.ends)
		}
		after, err := c.Validate(context.Background(), json.RawMessage(`{"type":"string"}`), json.RawMessage(`1`))
		if err != nil || len(after) != 1 {
			t.Errorf("after %s: %v, %v", name, after, err)
		}
	}
}

func TestASchemaIsAppliedToEachDataByItself(t *testing.T) {
	t.Parallel()
	for range 3 {
		for key := range 250 { // more than a worker keeps
			schema := fmt.Sprintf(`{"const":%d}`, key)
			for _, data := range []string{fmt.Sprint(key), "-1"} {
				if got := violations(t, schema, data); (len(got) == 0) != (data != "-1") {
					t.Fatalf("%s of %s: %q", data, schema, got)
				}
			}
		}
	}
	// Schemas that are large are not kept, but used.
	large := `{"const":1,"title":"` + strings.Repeat("x", compiledMost) + `"}`
	if got := violations(t, large, "2"); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

func TestManyCallersGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for k := range 100 {
				schema := fmt.Sprintf(`{"properties":{"a":{"maximum":%d}}}`, i)
				want := []string{fmt.Sprintf("/a|maximum|must be at most %d, but is %d", i, 100+k)}
				if got := violations(t, schema, fmt.Sprintf(`{"a":%d}`, 100+k)); !reflect.DeepEqual(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
	callers.Wait()
}

func FuzzValidateNeverFailsOtherThanWithAnError(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"anyOf":[{"type":"null"},{"required":["a"]}],"propertyNames":{"oneOf":[{"pattern":"x"},{"not":{}}]}}`, `{"a":[1]}`},
		{`{"$dynamicAnchor":"a","items":{"$dynamicRef":"#a"},"unevaluatedItems":false,"if":{"const":1},"else":{"enum":[2]}}`, `[[],1.5]`},
		{`{"$defs":{"a":{"$id":"b","$anchor":"c","format":"date"}},"additionalProperties":{"$ref":"b#c"},"contains":{}}`, `{"~":"x"}`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, data string) {
		s, bad := compile([]byte(text))
		if bad != nil {
			if bad.Message == "" {
				t.Error("an error without a message")
			}
			return
		}
		found, bad := validate(s, []byte(data))
		if len(found) > 0 && bad != nil {
			t.Error("both violations and an error")
		}
		for _, v := range found {
			if v.Keyword == "" || v.Message == "" {
				t.Errorf("%+v", v)
			}
		}
	})
}

// invoice is a schema as people write them, and 10 KB of data.
func invoice() (schema, data json.RawMessage) {
	schema = json.RawMessage(`{"type":"object","required":["number","date","customer","lines"],"properties":{
		"number":{"type":"string","pattern":"^R-[0-9]+$"},"date":{"type":"string","format":"date"},
		"customer":{"type":"object","required":["name"],"properties":{"name":{"type":"string","minLength":1},"email":{"type":"string","format":"email"}}},
		"lines":{"type":"array","minItems":1,"items":{"type":"object","required":["text","quantity","price"],"additionalProperties":false,"properties":{
			"text":{"type":"string","maxLength":200},"quantity":{"type":"integer","minimum":1},"price":{"type":"number","multipleOf":0.01},"unit":{"enum":["h","pcs","kg"]}}}}}}`)
	data = json.RawMessage(`{"number":"R-77","date":"2026-01-31","customer":{"name":"Ada","email":"ada@example.com"},"lines":[` +
		numbered(115, `{"text":"Position %[1]d of the list, delivered","quantity":1%[1]d,"price":3.35,"unit":"pcs"}`) + `]}`)
	return schema, data
}

func TestTheInvoiceOfTheBenchmarkIsValid(t *testing.T) {
	t.Parallel()
	schema, data := invoice()
	if got := violations(t, string(schema), string(data)); len(got) != 0 || len(data) < 9<<10 || len(data) > 11<<10 {
		t.Errorf("%d bytes: %q", len(data), got)
	}
}

// What a call costs: in a worker, and without.
func BenchmarkValidate10KB(b *testing.B) {
	schema, data := invoice()
	b.Run("worker", func(b *testing.B) {
		for b.Loop() {
			if found, err := shared.Validate(context.Background(), schema, data); err != nil || found != nil {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("in-process", func(b *testing.B) {
		for b.Loop() {
			if _, err := work(request{true, schema, data}.encode()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	schema, _ := invoice()
	for i := 0; b.Loop(); i++ { // each is new to the worker
		if err := shared.Check(context.Background(), append(schema, fmt.Appendf(nil, "%*s", i%1000+1, "")...)); err != nil {
			b.Fatal(err)
		}
	}
}
