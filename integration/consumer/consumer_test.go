// Package consumer_test builds modules that import one package of this one.
package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const patience = 5 * time.Minute

// heavy are modules that belong to leaves: nobody else may have them in their go.sum.
func heavy() []string {
	return []string{"google.golang.org/grpc ", "go.etcd.io/", "go.uber.org/zap ", "github.com/redis/", "github.com/Shopify/toxiproxy", "go.opentelemetry.io/", "github.com/chromedp/"}
}

// imports says which heavy packages a program that imports a package may have.
func imports() map[string][]string {
	return map[string][]string{
		"breaker":                                nil,
		"breaker/breakerhttp":                    nil,
		"breaker/breakergrpc":                    {"google.golang.org/grpc "},
		"reconnectingmemcached":                  nil,
		"reconnectingmemcached/memcache":         nil,
		"reconnectingmemcached/memcachedservers": nil,
		"holdfasttest":                           nil,
		"sentinel":                               nil,
		"sentinel/radixv2/redis":                 nil,
		"autorefresh":                            nil,
		"autorefresh/memcachedstore":             nil,
		"autorefresh/redisstore":                 nil,
		"groupcache":                             nil,
		"groupcache/dnspeers":                    nil,
		"groupcache/grpcpeer":                    {"google.golang.org/grpc "},
		"groupcache/etcdpeers":                   {"google.golang.org/grpc ", "go.etcd.io/", "go.uber.org/zap "},
		"otel":                                   {"go.opentelemetry.io/"},
		"sentinel/goredis":                       {"github.com/redis/"},
		"autorefresh/goredisstore":               {"github.com/redis/"},
		"groupcache/etcd":                        {"google.golang.org/grpc ", "go.etcd.io/", "go.uber.org/zap "},
	}
}

// root is the folder of the library's module.
func root(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// A fresh module that imports one package is made of what that package is tested with, so that it
// builds as well, and its go.sum names nothing that only others need. It takes the library from
// this folder, and everything else from where this module's own builds have it.
func TestWhoImportsOnePackageGetsNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	library := root(t)
	for path, may := range imports() {
		t.Run(strings.ReplaceAll(path, "/", "-"), func(t *testing.T) {
			t.Parallel()
			sums, packages := resolve(t, library, path)
			if tested := list(t, filepath.Join(library, path), "."); !slices.Equal(packages, tested) {
				t.Errorf("who imports %s builds\n%q, but its tests\n%q", path, packages, tested)
			}
			for _, module := range heavy() {
				has := slices.ContainsFunc(sums, func(line string) bool { return strings.HasPrefix(line, module) })
				if has && !slices.Contains(may, module) {
					t.Errorf("who imports %s has %s in go.sum", path, module)
				}
				if !has && slices.Contains(may, module) {
					t.Errorf("who imports %s does not have %s in go.sum: the list of what it may have is too long", path, module)
				}
			}
			if len(sums) > 2*mostModules && may == nil {
				t.Errorf("who imports %s has %d lines in go.sum, want those of at most %d modules", path, len(sums), mostModules)
			}
		})
	}
}

// mostModules is how many modules a program may come to know of by importing one package that is
// not a leaf.
const mostModules = 32

// resolve makes a module that imports one package, and returns its go.sum and the packages it is
// made of.
func resolve(t *testing.T, library, path string) (sums, packages []string) {
	t.Helper()
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mod := fmt.Sprintf("module example.org/consumer\n\ngo 1.25.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", name, name, library)
	if _, err := os.Stat(filepath.Join(library, path, "go.mod")); err == nil {
		mod += fmt.Sprintf("\nrequire %s/%s v0.0.0\n\nreplace %s/%s => %s/%s\n", name, path, name, path, library, path)
	}
	write("go.mod", mod)
	write("consumer.go", fmt.Sprintf("package consumer\n\nimport _ %q\n", name+"/"+path))
	packages = list(t, folder, "-mod=mod", ".")
	text, err := os.ReadFile(filepath.Join(folder, "go.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // there is none if nothing but this library is built
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), packages
}

const name = "github.com/holdfast-go/holdfast"

// list returns the packages that one in a folder is made of, with the versions of those that are
// not of this library.
func list(t *testing.T, folder string, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const format = `{{if not .Standard}}{{.ImportPath}}{{with .Module}} {{.Version}}{{end}}{{end}}`
	command := exec.CommandContext(ctx, "go", slices.Concat([]string{"list", "-deps", "-f", format}, args)...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GONOSUMDB=*") // this module has checked them
	text, err := command.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			text = failed.Stderr
		}
		t.Fatalf("go list in %s: %v\n%s", folder, err, text)
	}
	var packages []string
	for line := range strings.Lines(string(text)) {
		switch path, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
		case path == "", path == "example.org/consumer":
		case strings.HasPrefix(path, name):
			packages = append(packages, path)
		default:
			packages = append(packages, strings.TrimSpace(line))
		}
	}
	slices.Sort(packages)
	return packages
}
