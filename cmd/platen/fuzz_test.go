package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// What the environment says is taken whole or refused with all mistakes named, and no
// secret of it is shown.
func FuzzAConfigurationIsTakenOrRefusedWithoutItsSecrets(f *testing.F) {
	for _, seed := range [][3]string{{"PLATEN_LISTEN", "0.0.0.0:8080", ""}, {"PLATEN_BLOB_URL", "s3://bucket/p?region=eu&endpoint=http://x", "AKIA"}, {"PLATEN_EGRESS_ALLOW", "10.0.0.0/8,minio.lan:9000", ""},
		{"DATABASE_URL", "postgres://u:p@host/db", "x"}, {"PLATEN_SECRET_KEY", "AAAA,", ""}, {"PLATEN_ROLES", "api, worker", ""}, {"PLATEN_SHUTDOWN_DELAY", "1h", ""},
		{"PLATEN_QUEUE_LIMIT", "-1", ""}, {"PLATEN_BASE_URL", "https://x/?q#f", ""}, {"PLATEN_RATE_LIMIT", "9999999999999999999", ""}, {"PLATEN_DATA_DIR", "relative", ""}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, name, value, more string) {
		const canary = "canaryOfTheConfiguration"
		secrets := []string{"DATABASE_URL=" + more + "postgres://u:" + canary + "@host/db" + value, "PLATEN_SECRET_KEY=" + canary + value, "PLATEN_BOOTSTRAP_LIVE_TOKEN=" + canary + value,
			"PLATEN_BOOTSTRAP_TEST_TOKEN= " + canary, "AWS_SECRET_ACCESS_KEY=" + canary, "AWS_ACCESS_KEY_ID=AK", "HOME=/tmp"}
		c, err := load(append(secrets, name+"="+value))
		if shown := fmt.Sprintf("%v %+v %#v", err, c, c); strings.Contains(shown, canary) && !strings.Contains(name+value, canary) {
			t.Errorf("%q=%q shows a secret: %s", name, value, shown)
		}
		c, err = load([]string{"HOME=/tmp", name + "=" + value})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "the configuration has mistakes:\n  ") {
				t.Errorf("%q=%q: %v", name, value, err)
			}
			return
		}
		if _, _, err := net.SplitHostPort(c.listen); err != nil || !filepath.IsAbs(c.dataDir) || !c.api && !c.worker || c.queueLimit < 2 || c.rateLimit < 0 || c.shutdownDelay < 0 {
			t.Errorf("%q=%q: %+v", name, value, c)
		}
	})
}
