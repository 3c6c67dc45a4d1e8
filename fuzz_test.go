package platen_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"platen"
)

// Whatever stands around it, a signature is in nothing that people see of an address.
func FuzzPresignedURLsShowNoSignature(f *testing.F) {
	for _, seed := range [][2]string{{"https://bucket.s3.eu-west-3.amazonaws.com/key.pdf?X-Amz-Signature=", "&X-Amz-Date=20261126T000000Z&X-Amz-Expires=60"},
		{"http://example.com/a b?sig=", "#fragment"}, {"https://user:", "@example.com/key"}, {"https://example.com/#", ""}, {"mailto:a?x=", ""},
		{"//example.com?", "?"}, {"HTTPS://[::1]:80/%3F?a=%zz&b=", ";c"}, {"https://example.com?%", "\x00"}, {`http:\\example.com\?`, ""}} {
		f.Add(seed[0], seed[1])
	}
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, before, after string) {
		const signature = "canarySignature0123456789abcdef"
		place := before + signature + after
		// In the path it would be no secret, nor as a host.
		if !strings.Contains(before, "?") && !strings.Contains(before, "#") {
			return
		}
		upload := platen.PresignedUpload{URL: place, Headers: []platen.Header{{Name: "Authorization", Value: signature}, {Name: "bad name", Value: signature + "\n"}}}
		shown := upload.Destination() + fmt.Sprintf("%v %+v %#v %q %x %d", upload, upload, &upload, upload, upload, []any{upload})
		for _, mistake := range upload.Validate(now) {
			shown += mistake.Error() + mistake.Message + strings.Join(mistake.Path, " ")
		}
		if strings.Contains(shown, signature) || strings.Contains(shown, fmt.Sprintf("%x", signature)) {
			t.Errorf("%q shows its signature: %s", place, shown)
		}
		upload.Expires()
	})
}

func FuzzAnIDIsOfAKindOrOfNone(f *testing.F) {
	for _, seed := range []string{"", "sub_", "sub_Gbxesk7Xf52Pq3KgT9", "x_\x00", "_000000000000000000", "sub_000000000000000000_", "sub_00000000000000000\u0661"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		kind := platen.KindOf(id)
		if kind == "" {
			return
		}
		rest, ok := strings.CutPrefix(id, string(kind)+"_")
		if !ok || len(rest) != 18 || strings.ContainsFunc(rest, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			t.Errorf("%q is a %q", id, kind)
		}
	})
}
