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

// imports says what a program that imports a package may have, of what is heavy.
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

// A fresh module that imports one package builds, and its go.sum names nothing that only others
// need. It takes the library from this folder, and everything else from where this module's own
// builds have it.
func TestWhoImportsOnePackageGetsNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	library := root(t)
	for path, may := range imports() {
		t.Run(strings.ReplaceAll(path, "/", "-"), func(t *testing.T) {
			t.Parallel()
			sums := build(t, library, path)
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

// build makes a module that imports one package, and returns its go.sum.
func build(t *testing.T, library, path string) []string {
	t.Helper()
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const name = "github.com/holdfast-go/holdfast"
	mod := fmt.Sprintf("module example.org/consumer\n\ngo 1.25.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", name, name, library)
	if _, err := os.Stat(filepath.Join(library, path, "go.mod")); err == nil {
		mod += fmt.Sprintf("\nrequire %s/%s v0.0.0\n\nreplace %s/%s => %s/%s\n", name, path, name, path, library, path)
	}
	write("go.mod", mod)
	write("consumer.go", fmt.Sprintf("package consumer\n\nimport _ %q\n", name+"/"+path))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "build", "-mod=mod", ".")
	command.Dir = folder
	command.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GONOSUMDB=*") // this module has checked them
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build of a module that imports %s: %v\n%s", path, err, text)
	}
	text, err := os.ReadFile(filepath.Join(folder, "go.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // there is none if nothing but this library is built
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
