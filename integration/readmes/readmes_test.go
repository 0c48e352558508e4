//go:build unix

package readmes_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// example is a README whose commands are typed one after the other.
type example struct {
	folder, in string                                  // where it is, and where its commands are typed
	programs   []string                                // the servers that it needs
	ports      []string                                // which the test has others for
	also       func(port func(string) string) []string // further replacements, old and new in turn
	wants      map[string]int                          // how often what must be shown is
}

func examples() []example {
	return []example{
		{
			folder: "examples/autorefresh", in: "examples/autorefresh", programs: []string{"memcached"}, ports: []string{"11211", "8080", "8081"},
			also: func(port func(string) string) []string {
				return []string{"/tmp/products -database", "/tmp/products -memcached 127.0.0.1:" + port("11211") + " -database"}
			},
			wants: map[string]int{`result="adopted"} 1`: 1, `"name":"Product 42"`: 3, `"name":"Product 43"`: 1, `"name":"Product 44"`: 1, "store_down{": 2},
		},
		{
			folder: "examples/groupcache", in: ".", ports: []string{"8081", "8082", "8083", "9081", "9082", "9083"},
			also: func(port func(string) string) []string {
				return []string{"/tmp/node -listen", fmt.Sprintf("/tmp/node -peers 127.0.0.1:%s,127.0.0.1:%s,127.0.0.1:%s -listen", port("9081"), port("9082"), port("9083"))}
			},
			wants: map[string]int{`loaded user "42"`: 2, "user 42, loaded at": 4, "user 6, loaded at": 1},
		},
		{
			folder: "examples/groupcache-etcd", in: ".", programs: []string{"etcd"},
			ports: []string{"8081", "8082", "8083", "6324", "6325", "6326", "2379", "2380"},
			also: func(port func(string) string) []string {
				client, peer := "http://127.0.0.1:"+port("2379"), "http://127.0.0.1:"+port("2380")
				return []string{
					"etcd --data-dir", fmt.Sprintf("etcd --listen-client-urls %s --advertise-client-urls %s --listen-peer-urls %s --initial-advertise-peer-urls %s --initial-cluster default=%s --data-dir", client, client, peer, peer, peer),
					"/tmp/node -self", "/tmp/node -etcd " + client + " -self",
				}
			},
			wants: map[string]int{`loaded user "42"`: 1, "user 42, loaded at": 4, "user 6, loaded at": 3, "holdfast_groupcache_etcd_up": 3},
		},
	}
}

// What a README says to type does what it says, in bash and in zsh. The metric of one had another
// label, so that its command showed nothing.
func TestExamplesDoWhatTheirREADMEsSay(t *testing.T) {
	for _, e := range examples() {
		for shell, args := range map[string][]string{"bash": {"--norc"}, "zsh": {"-f"}} {
			t.Run(filepath.Base(e.folder)+"/"+shell, func(t *testing.T) {
				t.Parallel()
				for _, tool := range []string{shell, "curl"} {
					if _, err := exec.LookPath(tool); err != nil {
						testutil.Lack(t, "there is no %s here", tool)
					}
				}
				for _, program := range e.programs {
					if _, err := exec.LookPath(program); err != nil {
						testutil.Missing(t, program, err)
					}
				}
				shown := typed(t, shell, args, e)
				for want, times := range e.wants {
					if n := strings.Count(shown, want); n != times {
						t.Errorf("%q is shown %d times, want %d", want, n, times)
					}
				}
				if t.Failed() {
					t.Logf("%s shows\n%s", shell, shown)
				}
			})
		}
	}
}

// commands are what a README says to type, with ports and files of the test.
func commands(t *testing.T, e example) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", e.folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ports := make(map[string]string)
	replace := []string{"/tmp/", t.TempDir() + "/"}
	for _, port := range e.ports {
		p, err := testutil.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		ports[port] = fmt.Sprint(p)
		replace = append(replace, port, ports[port])
	}
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(block[1], "docker") {
			script.WriteString(block[1])
		}
	}
	lines := strings.NewReplacer(e.also(func(port string) string { return ports[port] })...).Replace(script.String())
	return strings.NewReplacer(replace...).Replace(lines)
}

// typed runs the commands of a README, each of which must succeed, and returns what they show.
func typed(t *testing.T, shell string, args []string, e example) string {
	t.Helper()
	// A program that has just begun may take longer to listen than somebody needs to type.
	const before = "set -e -o pipefail\ncurl() { command curl --retry 30 --retry-connrefused --retry-delay 1 --max-time 60 \"$@\"; }\n"
	file, err := os.Create(filepath.Join(t.TempDir(), "shown"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, shell, append(args, "-c", before+commands(t, e))...)
	command.Dir = filepath.Join("..", "..", e.in)
	command.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+asThisTest()))
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	end := func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) } // and what it has begun
	command.Cancel = end
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	err = command.Wait()
	_ = end()
	shown, readErr := os.ReadFile(file.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	if err != nil {
		t.Errorf("%s: %v", shell, err)
	}
	return string(shown)
}

// asThisTest are the flags with which what the programs are made of is compiled already.
func asThisTest() (flags string) {
	for _, flag := range testutil.CompiledWith() {
		flags += " '" + flag + "'" // it may have a space
	}
	return flags
}
