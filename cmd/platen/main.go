// Command platen turns data into documents and delivers them into the customer's
// own storage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"platen/sandbox"
)

func main() {
	sandbox.Main() // a worker of the sandbox is this binary too
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := command(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "platen:", err)
		os.Exit(1)
	}
}

// command runs what the arguments ask for.
func command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	switch verb := strings.Join(args[:min(len(args), 2)], " "); {
	case len(args) == 0 || verb == "--help" || verb == "-h" || verb == "help":
		fmt.Fprint(stdout, help())
		return nil
	case args[0] == "serve" && len(args) == 1:
		return serve(ctx, environ, stdout, stderr)
	case verb == "account create" && len(args) == 3:
		return withStore(ctx, environ, stderr, func(p *program) error { return p.accountCreate(ctx, stdout, args[2]) })
	case verb == "token create":
		flags := flag.NewFlagSet("platen token create", flag.ContinueOnError)
		flags.SetOutput(stderr)
		account := flags.String("account", "", "the account's id (default: the first account)")
		environment := flags.String("environment", "live", "live or test")
		scope := flags.String("scope", "admin", "read, write or admin")
		name := flags.String("name", "Made by the operator", "by which people know it")
		if err := flags.Parse(args[2:]); err != nil || flags.NArg() > 0 {
			return errors.New("`platen --help` shows how it is used")
		}
		return withStore(ctx, environ, stderr, func(p *program) error {
			return p.tokenCreate(ctx, stdout, *account, *environment, *scope, *name)
		})
	case verb == "token revoke" && len(args) == 3:
		return withStore(ctx, environ, stderr, func(p *program) error { return p.tokenRevoke(ctx, stdout, args[2]) })
	case args[0] == "backup" && len(args) == 2:
		return backup(ctx, environ, stdout, stderr, args[1])
	case args[0] == "restore" && len(args) == 2:
		return restore(ctx, environ, stdout, stderr, args[1])
	}
	return fmt.Errorf("%q is not a command; `platen --help` lists them", strings.Join(args, " "))
}

func help() string {
	var b strings.Builder
	b.WriteString(`Platen turns data into documents and delivers them into your own storage.

Usage:
  platen serve                          run it, configured by the environment
  platen account create NAME            make an account and print its tokens once
  platen token create [--account ID] [--environment live|test] [--scope read|write|admin] [--name NAME]
                                        make an API token and print its secret once
  platen token revoke ID                end an API token
  platen backup FOLDER                  write the database and all documents, without the master key, to a new folder
  platen restore FOLDER                 put a backup into an empty installation
  platen --help                         this text

The commands besides serve and restore work beside a running server, and without one.

Environment:
`)
	for _, v := range variables {
		fmt.Fprintf(&b, "  %s\n      %s", v.name, v.meaning)
		if v.preset != "" {
			fmt.Fprintf(&b, " (default: %s)", v.preset)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// serve runs the program until ctx ends.
func serve(ctx context.Context, environ []string, stdout, stderr io.Writer) error {
	config, err := load(environ)
	if err != nil {
		return err
	}
	p, err := open(ctx, config, newLog(stderr))
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Fprint(stdout, p.greeting())
	return p.run(ctx)
}

// greeting is what a start says to the person at the terminal.
func (p *program) greeting() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Platen listens on %s\n", p.baseURL)
	for _, part := range []string{p.welcome, p.signIn} {
		if part != "" {
			fmt.Fprintf(&b, "\n%s", part)
		}
	}
	if p.welcome != "" {
		b.WriteString("\nNext: make a first document, with the lines of README.md under \"A first document in five minutes\".\n")
	}
	if p.welcome+p.signIn != "" {
		b.WriteByte('\n')
	}
	return b.String()
}

// withStore runs a command that needs the database only.
func withStore(ctx context.Context, environ []string, stderr io.Writer, f func(*program) error) error {
	config, err := load(environ)
	if err != nil {
		return err
	}
	p := &program{config: config, operator: true, log: newLog(stderr)}
	defer p.close()
	if err := p.openStore(ctx); err != nil {
		return err
	}
	return f(p)
}
