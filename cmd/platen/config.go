package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	root "platen"
	"platen/egress"
	"platen/keyring"
	"platen/pipeline"
	"platen/server"
	"platen/storage/blob"
)

// config is all that the environment says (R9.3). Nothing else of the program reads
// the environment.
type config struct {
	listen      string
	baseURL     string // "": from the address that is listened on
	dataDir     string
	databaseURL root.Secret // "": the private PostgreSQL
	blobFolder  string      // own copies in a folder, or
	blobS3      *blob.S3Options
	keys        *keyring.Keyring // nil: the file in the data folder
	liveToken   root.Secret
	testToken   root.Secret
	egressAllow egress.Allow
	renderAllow egress.Allow
	api, worker bool
	queueLimit  int // documents that may wait
	rateLimit   int // requests a second, of one token; 0: no limit
	// shutdownDelay is for how long a node that stops goes on answering.
	shutdownDelay time.Duration

	// Tests are in a hurry.
	retryBase   time.Duration // of deliveries
	expireEvery time.Duration
	mergeTime   time.Duration
	drainTime   time.Duration
	postgres    map[string]string // settings of the private PostgreSQL
}

// variable is one setting, for --help and for finding misspelt ones.
type variable struct{ name, meaning, preset string }

var variables = []variable{
	{"PLATEN_LISTEN", "address to listen on", "127.0.0.1:8080"},
	{"PLATEN_BASE_URL", "how clients reach it; part of download URLs", "from the listen address"},
	{"PLATEN_DATA_DIR", "private PostgreSQL, documents, keys", "/var/lib/platen as root, else the user's data folder"},
	{"DATABASE_URL", "an own PostgreSQL in place of the private one", ""},
	{"PLATEN_BLOB_URL", "own copies: file:///path or s3://bucket/prefix?region=...&endpoint=...&path_style=true, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "documents/ in the data folder"},
	{"PLATEN_SECRET_KEY", "master key, base64 of 32 bytes; several, the newest first, separated by commas", "made in the data folder; demanded with DATABASE_URL, as is PLATEN_BLOB_URL"},
	{"PLATEN_BOOTSTRAP_LIVE_TOKEN", "secret of the first account's live token", "random, printed once"},
	{"PLATEN_BOOTSTRAP_TEST_TOKEN", "secret of the first account's test token", "random, printed once"},
	{"PLATEN_EGRESS_ALLOW", "networks, or hosts with an optional port, that deliveries may reach although private, e.g. 127.0.0.0/8,minio.lan:9000", ""},
	{"PLATEN_RENDER_ALLOW", "the same for what pages may load", ""},
	{"PLATEN_ROLES", "api, worker or both", "api,worker"},
	{"PLATEN_QUEUE_LIMIT", "how many documents may wait, of all accounts together; one account may have half of them. Beyond it, callers get QUEUE_FULL and a time to come back", "50000"},
	{"PLATEN_RATE_LIMIT", "how many requests a second an API token may send to a node, on average; 0: any number", "200"},
	{"PLATEN_SHUTDOWN_DELAY", "for how long a node that was told to stop still answers requests while /readyz says that it is draining, so that a load balancer can turn away; such as 5s", "0s"},
}

// minToken is the least length of a bootstrap token: shorter ones can be guessed.
const minToken = 20

// load reads the environment, as "NAME=value" pairs. Its error names every mistake
// at once, each with its remedy.
func load(environ []string) (config, error) {
	env := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	var mistakes []string
	mistake := func(name, format string, args ...any) {
		mistakes = append(mistakes, name+": "+fmt.Sprintf(format, args...))
	}
	for name := range env {
		if strings.HasPrefix(name, "PLATEN_") && !slices.ContainsFunc(variables, func(v variable) bool { return v.name == name }) {
			mistake(name, "there is no such setting; `platen --help` lists them")
		}
	}
	c := config{listen: "127.0.0.1:8080", drainTime: drainTime, databaseURL: root.NewSecret(env["DATABASE_URL"]),
		liveToken: root.NewSecret(env["PLATEN_BOOTSTRAP_LIVE_TOKEN"]), testToken: root.NewSecret(env["PLATEN_BOOTSTRAP_TEST_TOKEN"])}

	if v := env["PLATEN_LISTEN"]; v != "" {
		_, port, err := net.SplitHostPort(v)
		if n, portErr := strconv.Atoi(port); err != nil || portErr != nil || n < 0 || n > 65535 {
			mistake("PLATEN_LISTEN", "%q is not host:port, such as 0.0.0.0:8080", v)
		}
		c.listen = v
	}
	if v := env["PLATEN_BASE_URL"]; v != "" {
		u, err := url.Parse(v)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			mistake("PLATEN_BASE_URL", "%q is not an address such as https://platen.example.com", v)
		}
		c.baseURL = strings.TrimRight(v, "/")
	}
	if v := env["DATABASE_URL"]; v != "" && !strings.HasPrefix(v, "postgres://") && !strings.HasPrefix(v, "postgresql://") && !strings.Contains(v, "=") {
		mistake("DATABASE_URL", "is no address of a PostgreSQL: write postgres://user:password@host:5432/database")
	}
	var err error
	if c.dataDir, err = dataDir(env); err != nil {
		mistake("PLATEN_DATA_DIR", "%v", err)
	}
	c.blobFolder = filepath.Join(c.dataDir, "documents")
	if v := env["PLATEN_BLOB_URL"]; v != "" {
		if err := c.setBlobs(v, env); err != nil {
			mistake("PLATEN_BLOB_URL", "%v", err)
		}
	} else if c.databaseURL.Reveal() != "" {
		mistake("PLATEN_BLOB_URL", "is demanded with DATABASE_URL: every node must reach the same documents; give file:///path or s3://bucket/prefix?region=...")
	}
	if v := env["PLATEN_SECRET_KEY"]; v != "" {
		if c.keys, err = keyring.Parse(v); err != nil {
			mistake("PLATEN_SECRET_KEY", "%v", err)
		}
	} else if c.databaseURL.Reveal() != "" {
		mistake("PLATEN_SECRET_KEY", "is demanded with DATABASE_URL: every node needs the same; make one with `openssl rand -base64 %d`", keyring.KeySize)
	}
	for name, token := range map[string]string{"PLATEN_BOOTSTRAP_LIVE_TOKEN": c.liveToken.Reveal(), "PLATEN_BOOTSTRAP_TEST_TOKEN": c.testToken.Reveal()} {
		if token != "" && (len(token) < minToken || strings.ContainsAny(token, " \t\r\n")) {
			mistake(name, "has to be at least %d characters without spaces", minToken)
		}
	}
	if c.liveToken.Reveal() != "" && c.liveToken.Reveal() == c.testToken.Reveal() {
		mistake("PLATEN_BOOTSTRAP_TEST_TOKEN", "is the same as the live one; they must differ")
	}
	for name, into := range map[string]*egress.Allow{"PLATEN_EGRESS_ALLOW": &c.egressAllow, "PLATEN_RENDER_ALLOW": &c.renderAllow} {
		if *into, err = egress.ParseAllow(env[name]); err != nil {
			mistake(name, "%v", err)
		}
	}
	if v := env["PLATEN_SHUTDOWN_DELAY"]; v != "" {
		if c.shutdownDelay, err = time.ParseDuration(v); err != nil || c.shutdownDelay < 0 || c.shutdownDelay > drainTime {
			mistake("PLATEN_SHUTDOWN_DELAY", "%q is no time between 0s and %s, such as 5s", v, drainTime)
		}
	}
	c.queueLimit, c.rateLimit = pipeline.DefaultQueueLimit, server.DefaultRateLimit
	for name, number := range map[string]struct {
		into  *int
		least int
	}{"PLATEN_QUEUE_LIMIT": {&c.queueLimit, 2}, "PLATEN_RATE_LIMIT": {&c.rateLimit, 0}} {
		if v := env[name]; v != "" {
			if *number.into, err = strconv.Atoi(v); err != nil || *number.into < number.least {
				mistake(name, "%q is no number, %d or more", v, number.least)
			}
		}
	}
	roles := env["PLATEN_ROLES"]
	if roles == "" || roles == "both" {
		roles = "api,worker"
	}
	for _, role := range strings.Split(roles, ",") {
		switch strings.TrimSpace(role) {
		case "api":
			c.api = true
		case "worker":
			c.worker = true
		default:
			mistake("PLATEN_ROLES", "%q is not a role: give api, worker, or api,worker", role)
		}
	}
	if len(mistakes) > 0 {
		sort.Strings(mistakes)
		return c, errors.New("the configuration has mistakes:\n  " + strings.Join(mistakes, "\n  "))
	}
	return c, nil
}

func dataDir(env map[string]string) (string, error) {
	dir := env["PLATEN_DATA_DIR"]
	switch {
	case dir != "":
	case os.Getuid() == 0:
		dir = "/var/lib/platen"
	case env["XDG_DATA_HOME"] != "":
		dir = filepath.Join(env["XDG_DATA_HOME"], "platen")
	case env["HOME"] != "":
		dir = filepath.Join(env["HOME"], ".local", "share", "platen")
	default:
		return "", errors.New("there is no home folder to put the data in; name a folder")
	}
	return filepath.Abs(dir)
}

// setBlobs reads PLATEN_BLOB_URL.
func (c *config) setBlobs(address string, env map[string]string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("it is not an address: give file:///path or s3://bucket/prefix?region=...")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return fmt.Errorf("%q has no absolute path: write file:///path, with three slashes", address)
		}
		c.blobFolder = u.Path
		return nil
	case "s3":
		query := u.Query()
		for name := range query {
			if !slices.Contains([]string{"region", "endpoint", "path_style"}, name) {
				return fmt.Errorf("%q is not a parameter: there are region, endpoint and path_style", name)
			}
		}
		style := query.Get("path_style")
		if u.Host == "" || query.Get("region") == "" || !slices.Contains([]string{"", "true", "false"}, style) {
			return errors.New("write s3://bucket/prefix?region=...&endpoint=...&path_style=true; bucket and region are needed")
		}
		if env["AWS_ACCESS_KEY_ID"] == "" || env["AWS_SECRET_ACCESS_KEY"] == "" {
			return errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed for a bucket")
		}
		c.blobFolder = ""
		c.blobS3 = &blob.S3Options{Bucket: u.Host, Prefix: u.Path, Region: query.Get("region"), Endpoint: query.Get("endpoint"),
			PathStyle: style == "true", AccessKeyID: env["AWS_ACCESS_KEY_ID"], SecretAccessKey: root.NewSecret(env["AWS_SECRET_ACCESS_KEY"]),
			SessionToken: root.NewSecret(env["AWS_SESSION_TOKEN"])}
		return nil
	}
	return fmt.Errorf("%q is neither file:///path nor s3://bucket/prefix", address)
}
