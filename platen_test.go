package platen

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestR1_1PublicIDsAreAPrefixAnd18Characters(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id := NewID(KindSubmission)
		if !strings.HasPrefix(id, "sub_") || len(id) != 4+18 || strings.Trim(id[4:], base62) != "" || seen[id] {
			t.Fatalf("NewID gave %q", id)
		}
		seen[id] = true
	}
	for id, want := range map[string]Kind{"tpl_eGc5CmFbPnCCmerqsx": KindTemplate, "tpl_short": "", "tpl_eGc5CmFbPnCCmerq-x": "", "eGc5CmFbPnCCmerqsx": "", "": ""} {
		if got := KindOf(id); got != want {
			t.Errorf("KindOf(%q) = %q, want %q", id, got, want)
		}
	}
}

func TestRandomStringDrawsEvenly(t *testing.T) {
	t.Parallel()
	counts := map[rune]int{}
	const n = 62 * 1000
	for _, c := range RandomString(n) {
		counts[c]++
	}
	for _, c := range base62 {
		// 1,000 expected of each; six standard deviations are 190.
		if math.Abs(float64(counts[c]-1000)) > 190 {
			t.Errorf("%c came %d times of %d", c, counts[c], n)
		}
	}
}

func TestR1_2ScopesNest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		has, want TokenScope
		ok        bool
	}{
		{ScopeRead, ScopeRead, true}, {ScopeRead, ScopeWrite, false}, {ScopeRead, ScopeAdmin, false},
		{ScopeWrite, ScopeRead, true}, {ScopeWrite, ScopeWrite, true}, {ScopeWrite, ScopeAdmin, false},
		{ScopeAdmin, ScopeRead, true}, {ScopeAdmin, ScopeAdmin, true}, {"", ScopeRead, false}, {"ROOT", ScopeRead, false},
	} {
		if got := c.has.Includes(c.want); got != c.ok {
			t.Errorf("%q includes %q: %v", c.has, c.want, got)
		}
	}
}

func TestLengthsAreCSSLengths(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"8.5in": 8.5, "210mm": 210 / 25.4, "2.54cm": 1, "96px": 1, "72pt": 1, "6pc": 1, "101.6Q": 1, "101.6q": 1, "0": 0, " 1IN ": 1, "1e1mm": 10 / 25.4, ".5in": .5} {
		if got, err := ParseLength(text); err != nil || math.Abs(got-want) > 1e-9 {
			t.Errorf("ParseLength(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "in", "-1in", "1em", "1 parsec", "NaNin", "Infin", "1e999in", "0x10in", "1_0in", "1,5in", "calc(1in)"} {
		if got, err := ParseLength(text); err == nil {
			t.Errorf("ParseLength(%q) = %v, want an error", text, got)
		}
	}
}

func TestR2_3GeometryOfPages(t *testing.T) {
	t.Parallel()
	page := DefaultPageSettings()
	for _, c := range []struct {
		change        func(*PageSettings)
		width, height float64
	}{
		{func(*PageSettings) {}, 8.5, 11},
		{func(p *PageSettings) { p.Orientation = Landscape }, 11, 8.5},
		{func(p *PageSettings) { p.Format = "A4" }, 210 / 25.4, 297 / 25.4},
		{func(p *PageSettings) { p.Format = "LEDGER" }, 17, 11},
		{func(p *PageSettings) { p.Format, p.Width, p.Height = "", "10cm", "20cm" }, 10 / 2.54, 20 / 2.54},
		{func(p *PageSettings) { p.Format, p.Width, p.Height, p.Orientation = "", "10cm", "20cm", Landscape }, 20 / 2.54, 10 / 2.54},
	} {
		p := page
		c.change(&p)
		if errs := p.Validate(); len(errs) > 0 {
			t.Errorf("%+v: %v", p, errs)
		}
		if g, err := p.Geometry(); err != nil || math.Abs(g.Width-c.width) > 1e-9 || math.Abs(g.Height-c.height) > 1e-9 || g.MarginTop != 0.4 {
			t.Errorf("%+v: %+v, %v", p, g, err)
		}
	}
}

func TestAnOverrideReplacesTheSizeAsAWhole(t *testing.T) {
	t.Parallel()
	a5, width, height := PaperFormat("A5"), "10cm", "20cm"
	sized := DefaultPageSettings()
	sized.Format, sized.Width, sized.Height = "", "1in", "2in"
	if p := (PageOverride{Format: &a5}).Over(sized); p.Format != "A5" || p.Width != "" || p.Height != "" {
		t.Errorf("a format over a size: %+v", p)
	}
	if p := (PageOverride{Width: &width, Height: &height}).Over(DefaultPageSettings()); p.Format != "" || p.Width != "10cm" {
		t.Errorf("a size over a format: %+v", p)
	}
	if p := (PageOverride{Format: &a5, Width: &width, Height: &height}).Over(sized); p.Format != "" || p.Height != "20cm" {
		t.Errorf("width and height win over a format: %+v", p)
	}
	if p := (PageOverride{}).Over(sized); p != sized {
		t.Errorf("nothing changed something: %+v", p)
	}
}

func TestU0000IsFoundHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{`{"a":"\u0000"}`: true, `"x\\\u0000"`: true, `"\\u0000"`: false, `"u0000"`: false, `"\\\\u0000 \u0000"`: true, `{}`: false, ``: false} {
		if got := containsNUL([]byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestR6_3TheRetryScheduleLastsADayAndPausesSixHoursAtMost(t *testing.T) {
	t.Parallel()
	var total time.Duration
	attempts := 1
	for ; total < DeliveryGiveUp; attempts++ {
		shortest, longest := RetryDelay(DeliveryRetryBase, attempts, 0), RetryDelay(DeliveryRetryBase, attempts, 1)
		if shortest < 7*time.Second || longest > DeliveryRetryMax*5/4 || longest <= shortest {
			t.Fatalf("after attempt %d: %v to %v", attempts, shortest, longest)
		}
		total += RetryDelay(DeliveryRetryBase, attempts, 0.5)
	}
	if attempts < 10 || attempts > 20 {
		t.Errorf("%d attempts in a day", attempts)
	}
	if RetryDelay(time.Second, 3, 0.5) != 4*time.Second {
		t.Errorf("the pause does not double: %v", RetryDelay(time.Second, 3, 0.5))
	}
}

func TestR5_1AppliesToCoversItsDocuments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		applies    AppliesTo
		live, test bool
	}{{AppliesToLive, true, false}, {AppliesToTest, false, true}, {AppliesToLiveAndTest, true, true}} {
		if c.applies.Covers(false) != c.live || c.applies.Covers(true) != c.test {
			t.Errorf("%s covers live %v and test %v", c.applies, c.applies.Covers(false), c.applies.Covers(true))
		}
	}
	i := AWSS3Integration{SubmissionPath: "live", TestSubmissionPath: "test"}
	if i.PathTemplate(false) != "live" || i.PathTemplate(true) != "test" {
		t.Error("R5.3: each has its own path")
	}
	i.TestSubmissionPath = ""
	if i.PathTemplate(true) != "live" {
		t.Error("R5.3: a blank test path does not fall back to the live one")
	}
}
