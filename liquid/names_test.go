package liquid

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func dataNamesOf(t *testing.T, sources ...string) ([]string, error) {
	t.Helper()
	var given []Source
	for i, text := range sources {
		given = append(given, Source{fmt.Sprint("source", i), text})
	}
	return shared.DataNames(context.Background(), given, "data", "metadata", "submission_id", "template_id", "template_name", "template_version")
}

func TestDataNamesAreWhatSourcesReadFromData(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		``:                                       ``,
		`plain {{ "text" }} {{ 1 }}`:             ``,
		`{{ customer.name }}{{ customer.name }}`: `customer.name`,
		`{{ b }}{{ a }}`:                         `a b`,
		`{{ customer["name"] }} {{ customer['first name'].x }}`: `customer.name customer["first name"].x`,
		`{{ a["b.c"] }} {{ a['say "x"'] }} {{ a[""] }}`:         `a[""] a["b.c"] a['say "x"']`,
		`{{ größe.überall }}`:                                   `größe.überall`,
		// data as a whole, and Platen's own names
		`{{ data.customer.name }} {{ customer.name }}`:                         `customer.name`,
		`{{ data["customer"].name }}`:                                          `customer.name`,
		`{{ data }} {{ data | json }}`:                                         ``,
		`{{ metadata.x }}{{ submission_id }}{{ template_id }}`:                 ``,
		`{{ template_name }}{{ template_version }}`:                            ``,
		`{{ data.metadata.x }} {{ data.data.y }} {{ data.template_id }}`:       `data.y metadata.x template_id`,
		`{{ list[metadata.n] }}`:                                               `list`,
		`{% for m in metadata.list %}{{ m.x }}{% endfor %}`:                    ``,
		`{% for x in data %}{{ x.name }}{{ first }}{% endfor %}{{ data.size}}`: `[].name first size`,
		// filters, conditions and tags
		`{{ a | plus: b.c | append: d["e"] | default: f, allow_false: g }}`:                                    `a b.c d.e f g`,
		`{% if a > b and c contains d.e or (f == nil) %}{% elsif g %}{% endif %}{% unless h %}{% endunless %}`: `a b c d.e f g h`,
		`{% case a %}{% when b, "x" %}{% when c or d %}{% endcase %}`:                                          `a b c d`,
		`{% echo a %}{% liquid echo b
		  if c
		  endif %}`: `a b c`,
		`{% for x in (a..b.c) limit: d offset: e %}{{ x }}{% endfor %}`:                `a b.c d e`,
		`{% tablerow x in rows cols: n %}{{ x.y }}{{ forloop.last }}{% endtablerow %}`: `n rows rows[].y`,
		// loops
		`{% for x in lines %}{{ x.price }}{{ forloop.index }}{% endfor %}{{ x }}{{ forloop }}`:               `forloop lines lines[].price x`,
		`{% for x in lines %}{{ x }}{% else %}{{ x.y }}{% endfor %}`:                                         `lines lines[] x.y`,
		`{% for x in data.order.lines %}{{ x.tags[0] }}{% for t in x.tags %}{{ t }}{% endfor %}{% endfor %}`: `order.lines order.lines[].tags order.lines[].tags[]`,
		`{% for x in a %}{% for x in x.b %}{{ x.c }}{% endfor %}{{ x.d }}{% endfor %}`:                       `a a[].b a[].b[].c a[].d`,
		`{% for x in lines | where: "kind", k | sort: "price" %}{{ x.price }}{% endfor %}`:                   `k lines lines[].price`,
		`{% for x in lines | map: "price" %}{{ x.y }}{% endfor %}`:                                           `lines`,
		`{% for x in "abc" %}{{ x.y }}{% endfor %}{% for x in a[i] %}{{ x.y }}{% endfor %}`:                  `a i`,
		// what the source sets itself
		`{{ a }}{% assign a = b.c %}{{ a }}{{ a.d }}`:                                            `a b.c b.c.d`,
		`{% assign a = b | size %}{{ a.d }}{% capture c %}{{ c }}{{ d }}{% endcapture %}{{ c }}`: `b c d`,
		`{% assign a = b == c %}{{ a.d }}{% assign e = f[i].g %}{{ e.h }}`:                       `b c f i`,
		`{% assign c = data.customer %}{{ c.name }}`:                                             `customer customer.name`,
		`{% assign d = data %}{{ d.customer.name }}`:                                             `customer.name`,
		`{% assign m = metadata %}{{ m.x }}`:                                                     ``,
		`{% assign one = lines | sort: "n" | first %}{{ one.n }}`:                                `lines lines[].n`,
		`{% assign a = a.b %}{% assign a = a.b %}{{ a }}`:                                        `a.b a.b.b`,
		// indexes, and what Liquid knows of lists
		`{{ lines[0].price }}{{ lines[-1] }}`:                                                     `lines[] lines[].price`,
		`{{ lines[i].price }}{{ lines[i][j.k] }}`:                                                 `i j.k lines`,
		`{{ years["2026"] }}`:                                                                     `years["2026"]`,
		`{{ lines.size }}{{ lines.first.price }}{{ name.first }}`:                                 `lines.first.price lines.size name.first`,
		`{{ lines.size }}{{ lines.first.price }}{{ name.first }}{% for l in lines %}{% endfor %}`: `lines lines.first.price lines.size name.first`,
		`{{ lines.size }}{{ lines.first.price }}{% for l in lines %}{{ l.price }}{% endfor %}`:    `lines lines[].price`,
		// what is not read
		`{% raw %}{{ a }}{% endraw %}{% comment %}{{ b }}{% endcomment %}{% # {c} %}`: ``,
	} {
		found, err := dataNamesOf(t, source)
		if got := strings.Join(found, " "); err != nil || got != want {
			t.Errorf("%s\n got %s, %v\nwant %s", source, got, err, want)
		}
	}
}

func TestDataNamesOfManySourcesAreToldOnce(t *testing.T) {
	t.Parallel()
	// What one source sets is not set in another.
	found, err := dataNamesOf(t, `{{ a }}{% assign b = 1 %}{{ b }}`, ``, `{{ b }}{{ a }}{% for l in lines %}{{ l.x }}{% endfor %}`, `{{ lines.size }}`)
	if got := strings.Join(found, " "); err != nil || got != "a b lines lines[].x" {
		t.Errorf("got %s, %v", got, err)
	}
	if found, err := dataNamesOf(t); len(found) != 0 || err != nil {
		t.Errorf("got %s, %v", found, err)
	}
	_, err = dataNamesOf(t, `{{ a }}`, "\n{{ a | nope }}")
	if want := `source1 line 2, column 8: unknown filter "nope"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The limits of a call are what says that these are quick; not parallel, because
// the race detector makes it slow.
func TestDataNamesOfLargeSourcesAreFoundQuicklyAndAreBounded(t *testing.T) {
	var distinct strings.Builder
	for i := 0; distinct.Len() < 1<<20; i++ {
		fmt.Fprintf(&distinct, "{{ a%d.b }}", i)
	}
	for name, source := range map[string]string{
		"many names":      distinct.String(),
		"a long path":     `{{ a` + strings.Repeat(`.b`, 1<<12) + ` }}`,
		"a long name":     `{{ ` + strings.Repeat(`a`, 1<<20) + ` }}{{ b.` + strings.Repeat(`a`, 1<<20) + ` }}`,
		"many indexes":    `{{ a` + strings.Repeat(`[0]`, 1<<12) + ` }}`,
		"growing aliases": strings.Repeat(`{% assign a = a.b.c.d.e %}`, 1<<15) + `{{ a }}`,
		"deep loops":      strings.Repeat(`{% for x in x.y %}`, 100) + strings.Repeat(`{{ x.z }}`, 1<<15) + strings.Repeat(`{% endfor %}`, 100),
	} {
		found, err := dataNamesOf(t, source)
		if err != nil || len(found) == 0 || len(found) > maxNames {
			t.Errorf("%s: %d names, %v", name, len(found), err)
		}
		for _, n := range found {
			if len(n) > maxName {
				t.Errorf("%s: a name of %d bytes", name, len(n))
			}
		}
	}
}
