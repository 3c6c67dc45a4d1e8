package platen

import (
	"math"
	"reflect"
	"slices"
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

func TestLengthsAndNamesHaveALimit(t *testing.T) {
	t.Parallel()
	page := DefaultPageSettings()
	page.MarginTop = strings.Repeat("0", MaxLength-3) + "1mm"
	if errs := page.Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	page.MarginTop = "0" + page.MarginTop
	page.Width, page.Height = page.MarginTop, strings.Repeat(" ", MaxLength)+"9cm"
	var fields []string
	for _, err := range page.Validate() {
		if err.Code != CodeTooLong || !strings.Contains(err.Message, "40 characters") {
			t.Error(err)
		}
		fields = append(fields, err.Path[0])
	}
	if want := []string{"width", "height", "marginTop"}; !slices.Equal(fields, want) {
		t.Errorf("too long are %v, want %v", fields, want)
	}
	template := Template{Name: strings.Repeat("ü", MaxName), Description: strings.Repeat("x", MaxDescription)}
	if errs := template.Validate(); len(errs) > 0 {
		t.Error(errs)
	}
	template.Name, template.Description = template.Name+"ü", template.Description+"x"
	errs := template.Validate()
	if len(errs) != 2 || errs[0].Code != CodeTooLong || errs[1].Code != CodeTooLong ||
		!strings.Contains(errs[0].Message, "200") || !strings.Contains(errs[1].Message, "4000") {
		t.Error(errs)
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
	none := ""
	if p := (PageOverride{Width: &none, Height: &none}).Over(sized); p.Format != "LETTER" || p.Width != "" || p.Height != "" {
		t.Errorf("no size is left: %+v", p)
	}
	if p := (PageOverride{Width: &none}).Over(PageSettings{Format: a5}); p.Format != a5 {
		t.Errorf("a width that was not there is taken away: %+v", p)
	}
	if p := (PageOverride{Width: &none}).Over(sized); p.Format != "" || p.Height != "2in" {
		t.Errorf("half a size is not whole again: %+v", p)
	}
}

func TestR2_3AnOverrideReachesEverySetting(t *testing.T) {
	t.Parallel()
	want := PageSettings{
		Width: "1in", Height: "2in", Orientation: Landscape, MarginTop: "1mm", MarginRight: "2mm", MarginBottom: "3mm", MarginLeft: "4mm",
		Scale: 0.5, PrintBackground: true, PreferCSSPageSize: true, PageRanges: "2-", Outline: true, Tagged: true, Media: MediaScreen,
		NoJavaScript: true, NoNetwork: true, WaitFor: &WaitFor{Selector: ".done"}, Timeout: 7,
	}
	all := PageOverride{
		Width: &want.Width, Height: &want.Height, Orientation: &want.Orientation, MarginTop: &want.MarginTop, MarginRight: &want.MarginRight,
		MarginBottom: &want.MarginBottom, MarginLeft: &want.MarginLeft, Scale: &want.Scale, PrintBackground: &want.PrintBackground,
		PreferCSSPageSize: &want.PreferCSSPageSize, PageRanges: &want.PageRanges, Outline: &want.Outline, Tagged: &want.Tagged,
		Media: &want.Media, NoJavaScript: &want.NoJavaScript, NoNetwork: &want.NoNetwork, WaitFor: want.WaitFor, Timeout: &want.Timeout,
	}
	settings := reflect.ValueOf(want)
	for i := range settings.NumField() {
		if name := settings.Type().Field(i).Name; name != "Format" && settings.Field(i).IsZero() {
			t.Errorf("this test says nothing of %s", name)
		}
	}
	if got := all.Over(PageSettings{Format: "A4"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (PageOverride{}).Over(want); got != want {
		t.Errorf("nothing changed something: %+v", got)
	}
	for _, none := range []WaitFor{{}, {Selector: " ", Expression: "\n"}} {
		if got := (PageOverride{WaitFor: &none}).Over(want); got.WaitFor != nil {
			t.Errorf("the conditions are not taken away: %+v", got.WaitFor)
		}
	}
}

func TestR2_3PageRangesAreChecked(t *testing.T) {
	t.Parallel()
	for ranges, message := range map[string]string{
		"": "", " ": "", "1": "", "1-3, 5": "", "8-": "", "-4": "", " 2 - 3 ,1": "", "7-7": "", "1000000": "",
		"0": "not a range", "0-3": "not a range", "-": "not a range", "1,,2": "not a range", "1,": "not a range", ",": "not a range", "a": "not a range",
		"1-2-3": "not a range", "1.5": "not a range", "+1": "not a range", "1–3": "not a range", "1000001": "not a range",
		"99999999999999999999": "not a range", "1;2": "not a range", "3-1": "goes backwards", "1, 9-8": "goes backwards",
		strings.Repeat("1,", MaxPageRanges/2) + "1": "at most 200",
		strings.Repeat("x", MaxPageRanges):          `xxx..."`,
	} {
		page := DefaultPageSettings()
		page.PageRanges = ranges
		errs := page.Validate()
		if message == "" && len(errs) > 0 || message != "" && (len(errs) != 1 || errs[0].Path[0] != "pageRanges" || !strings.Contains(errs[0].Message, message)) {
			t.Errorf("%q: %v", ranges, errs)
		}
	}
}

func TestR2_3ConditionsAreChecked(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("ü", n) }
	for _, c := range []struct {
		wait          WaitFor
		noJavaScript  bool
		path, message string
	}{
		{WaitFor{NetworkIdle: true, Selector: long(MaxWaitSelector), Expression: long(MaxWaitExpression)}, false, "", ""},
		{WaitFor{Selector: long(MaxWaitSelector + 1)}, false, "waitFor.selector", "1000"},
		{WaitFor{Expression: long(MaxWaitExpression + 1)}, false, "waitFor.expression", "4000"},
		{WaitFor{Selector: "p" + strings.Repeat(" ", MaxWaitSelector)}, false, "waitFor.selector", "1000"},
		{WaitFor{Selector: "a\x00"}, false, "waitFor.selector", "U+0000"},
		{WaitFor{Expression: "'\xff'"}, false, "waitFor.expression", "UTF-8"},
		{WaitFor{Expression: "window.ready"}, true, "waitFor.expression", "JavaScript"},
		{WaitFor{NetworkIdle: true, Selector: "p"}, true, "", ""},
		{WaitFor{Expression: " \n", Selector: "\t"}, true, "", ""},
	} {
		page := DefaultPageSettings()
		page.WaitFor, page.NoJavaScript = &c.wait, c.noJavaScript
		errs := page.Validate()
		if c.path == "" && len(errs) > 0 || c.path != "" && (len(errs) != 1 || strings.Join(errs[0].Path, ".") != c.path || !strings.Contains(errs[0].Message, c.message)) {
			t.Errorf("%.40v: %v", c.wait, errs)
		}
	}
	page := DefaultPageSettings()
	if page.Waits() != (WaitFor{}) {
		t.Error("settings without conditions wait")
	}
	page.WaitFor = &WaitFor{Selector: " p ", Expression: " "}
	if got := page.Waits(); got != (WaitFor{Selector: "p"}) {
		t.Errorf("%+v", got)
	}
}

func TestR3_1TheOptionsOfAnImageAreChecked(t *testing.T) {
	t.Parallel()
	for _, kind := range []OutputKind{OutputPNG, OutputJPEG, OutputWebP} {
		if errs := DefaultScreenshot().Validate(kind); len(errs) > 0 {
			t.Errorf("%s: %v", kind, errs)
		}
	}
	largest := Screenshot{Width: MaxWindow, Height: MaxWindow, DeviceScaleFactor: 2}
	if errs := largest.Validate(OutputPNG); len(errs) > 0 {
		t.Error(errs)
	}
	for _, c := range []struct {
		change func(*Screenshot)
		kind   OutputKind
		path   string
	}{
		{func(s *Screenshot) { s.Width = 0 }, OutputPNG, "width"}, {func(s *Screenshot) { s.Width = MaxWindow + 1 }, OutputPNG, "width"},
		{func(s *Screenshot) { s.Height = -1 }, OutputPNG, "height"}, {func(s *Screenshot) { s.Height = MaxWindow + 1 }, OutputPNG, "height"},
		{func(s *Screenshot) { s.DeviceScaleFactor = 0 }, OutputPNG, "deviceScaleFactor"},
		{func(s *Screenshot) { s.DeviceScaleFactor = math.NaN() }, OutputPNG, "deviceScaleFactor"},
		{func(s *Screenshot) { s.DeviceScaleFactor = MaxScaleFactor + 0.1 }, OutputPNG, "deviceScaleFactor"},
		{func(s *Screenshot) { s.Width, s.Height, s.DeviceScaleFactor = MaxWindow, MaxWindow, 2.1 }, OutputPNG, "deviceScaleFactor"},
		{func(s *Screenshot) { s.Width, s.Height, s.DeviceScaleFactor = MaxWindow, 1, 4 }, OutputWebP, "deviceScaleFactor"},
		{func(s *Screenshot) { s.Width, s.DeviceScaleFactor = 1, 0.1 }, OutputPNG, "deviceScaleFactor"},
		{func(s *Screenshot) { s.Quality = 101 }, OutputJPEG, "quality"}, {func(s *Screenshot) { s.Quality = -1 }, OutputWebP, "quality"},
		{func(s *Screenshot) { s.Quality = 50 }, OutputPNG, "quality"}, {func(s *Screenshot) { s.OmitBackground = true }, OutputJPEG, "omitBackground"},
	} {
		s := DefaultScreenshot()
		c.change(&s)
		if errs := s.Validate(c.kind); len(errs) != 1 || errs[0].Path[0] != c.path {
			t.Errorf("%s %+v: %v", c.kind, s, errs)
		}
	}
	for size, ok := range map[[2]int]bool{{MaxImageSide, 4096}: true, {MaxImageSide, 4097}: false, {4096, MaxImageSide}: true, {1, MaxImageSide + 1}: false, {0, 1}: false, {1, 0}: false, {MaxImageSide + 1, 1}: false} {
		if err := CheckImageSize(size[0], size[1]); (err == nil) != ok {
			t.Errorf("%v: %v", size, err)
		}
	}
	for kind, want := range map[OutputKind]string{OutputPDF: "application/pdf", OutputPNG: "image/png", OutputJPEG: "image/jpeg", OutputWebP: "image/webp"} {
		if kind.ContentType() != want {
			t.Errorf("%s: %s", kind, kind.ContentType())
		}
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
	if DeliveryGiveUp < 24*time.Hour {
		t.Errorf("deliveries are given up after %v", DeliveryGiveUp)
	}
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
}

func TestR5_3TestPathsFallBackToTheLiveOnes(t *testing.T) {
	t.Parallel()
	s := S3Settings{SubmissionPath: "live", TestSubmissionPath: "test", CombinedSubmissionPath: "combined", TemplateVersionPath: "version"}
	if s.Path(PathSubmission, false) != "live" || s.Path(PathSubmission, true) != "test" {
		t.Error("each has its own path")
	}
	s.TestSubmissionPath = ""
	if s.Path(PathSubmission, true) != "live" || s.Path(PathCombinedSubmission, true) != "combined" {
		t.Error("a blank test path does not fall back to the live one")
	}
	s.TestCombinedSubmissionPath = "test combined"
	if s.Path(PathCombinedSubmission, true) != "test combined" || s.Path(PathTemplateVersion, true) != "version" {
		t.Error("the paths are mixed up")
	}
	s.CombinedSubmissionPath, s.TestCombinedSubmissionPath = "", ""
	if s.Path(PathCombinedSubmission, false) != "" || s.Path(PathCombinedSubmission, true) != "" {
		t.Error("a blank combined path does not switch the copies off")
	}
}

func TestR6_1WhichDocumentsGetAnAction(t *testing.T) {
	t.Parallel()
	bucket := Integration{Enabled: true, AppliesTo: AppliesToLive, S3: &S3Settings{SubmissionPath: "live", TemplateVersionPath: "version"}}
	hook := Integration{Enabled: true, AppliesTo: AppliesToLiveAndTest, Webhook: &WebhookSettings{}}
	one := Integration{Enabled: true, AppliesTo: AppliesToLiveAndTest, Webhook: &WebhookSettings{TemplateID: "tpl_1"}}
	off := bucket
	off.Enabled = false
	document := func(state DocumentState, test bool, template string) *Submission {
		return &Submission{Document: Document{Record: Record{Test: test}, State: state}, TemplateID: template}
	}
	for name, c := range map[string]struct {
		of                     AnyDocument
		bucket, hook, one, off bool
	}{
		"live":    {document(DocumentProcessed, false, "tpl_1"), true, true, true, false},
		"test":    {document(DocumentProcessed, true, "tpl_2"), false, true, false, false},
		"failed":  {document(DocumentFailed, false, ""), false, true, false, false},
		"invalid": {document(DocumentInvalidData, false, "tpl_1"), false, true, true, false},
		// The bucket has no path for them, and they are of no template.
		"combined": {&CombinedSubmission{Document: Document{State: DocumentProcessed}}, false, true, false, false},
	} {
		if bucket.Wants(c.of) != c.bucket || hook.Wants(c.of) != c.hook || one.Wants(c.of) != c.one || off.Wants(c.of) != c.off {
			t.Errorf("%s: %v %v %v %v", name, bucket.Wants(c.of), hook.Wants(c.of), one.Wants(c.of), off.Wants(c.of))
		}
	}
	if !bucket.WantsVersions() || hook.WantsVersions() || off.WantsVersions() {
		t.Error("versions are copied by enabled integrations with a path for them, and by no others")
	}
}

func TestR5_1TheOptionsOfAnS3IntegrationAreChecked(t *testing.T) {
	t.Parallel()
	good := S3Settings{AccessKeyID: "AK", Region: "eu-west-3", Bucket: "archive", StorageClass: "STANDARD_IA",
		ServerSideEncryption: "aws:kms", KMSKeyID: "arn:aws:kms:eu-west-3:1:key/2"}
	if errs := good.Validate("secret"); len(errs) > 0 {
		t.Fatal(errs)
	}
	for field, spoil := range map[string]func(*S3Settings){
		"storageClass":         func(s *S3Settings) { s.StorageClass = "standard ia" },
		"serverSideEncryption": func(s *S3Settings) { s.ServerSideEncryption, s.KMSKeyID = "aes", "" },
		"kmsKeyId":             func(s *S3Settings) { s.ServerSideEncryption = "AES256" },
		"endpoint":             func(s *S3Settings) { s.Endpoint = "https://user:word@example.com" },
		"bucket":               func(s *S3Settings) { s.Bucket = "s3://archive/2026" },
		"region":               func(s *S3Settings) { s.Region = "Europe (Paris)" },
		"accessKeyId":          func(s *S3Settings) { s.AccessKeyID = "AK " },
	} {
		bad := good
		spoil(&bad)
		if errs := bad.Validate("secret"); len(errs) != 1 || errs[0].Path[0] != field {
			t.Errorf("%s: %v", field, errs)
		}
	}
	for _, address := range []string{"", "example.com", "ftp://example.com", "https://user@example.com/", "https://exa mple.com", "https://", "https://[::1",
		"https://example.com:0", "https://example.com:65536", "https://example.com:port"} {
		if errs := (&WebhookSettings{URL: address}).Validate(); len(errs) != 1 || errs[0].Path[0] != "url" {
			t.Errorf("%q: %v", address, errs)
		}
		bad := good
		if bad.Endpoint = address; address == "" {
			continue // AWS
		}
		if errs := bad.Validate("secret"); len(errs) != 1 || errs[0].Path[0] != "endpoint" {
			t.Errorf("%q: %v", address, errs)
		}
	}
	// Where the endpoint has the bucket in it already, or a path that is not its parent,
	// objects would get other keys than their receipts say.
	for address, pathStyle := range map[string]bool{"https://s3.eu-west-3.amazonaws.com/archive": true, "https://s3.eu-west-3.amazonaws.com/archive/": false,
		"https://archive.s3.eu-west-3.amazonaws.com": true, "https://archive.s3-eu-west-3.amazonaws.com": false, "https://example.com/storage/v1/s3": false} {
		bad := good
		bad.Endpoint, bad.ForcePathStyle = address, pathStyle
		if errs := bad.Validate("secret"); len(errs) != 1 || errs[0].Path[0] != "endpoint" {
			t.Errorf("%q: %v", address, errs)
		}
	}
	for _, address := range []string{"http://127.0.0.1:9000", "https://[2001:db8::1]:65535/base/", "HTTPS://EXAMPLE.COM", "https://archive.lan", "https://example.com/storage/v1/s3"} {
		good.Endpoint, good.ForcePathStyle = address, true
		if errs := good.Validate("secret"); len(errs) > 0 {
			t.Errorf("%q: %v", address, errs)
		}
	}
}

func TestNamesAreOneLineOfText(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]ErrorCode{
		"Archive, Ünal & Söhne 日本 🗄️": "", strings.Repeat("ü", 200): "", "": CodeRequired, " \u00a0 ": CodeRequired, strings.Repeat("x", 5000): CodeTooLong,
		"a\nb": CodeInvalid, "a\x1b[31mb": CodeInvalid, "a\u0085b": CodeInvalid, "a\x00b": CodeInvalid, "a\xffb": CodeInvalid,
	} {
		errs := ValidateName(name, "name")
		if code == "" && len(errs) == 0 {
			continue
		}
		if len(errs) != 1 || errs[0].Code != code || errs[0].Path[0] != "name" {
			t.Errorf("%.20q: %v, want %s", name, errs, code)
		}
	}
}
