package main

import (
	"errors"
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/outage"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/staleness"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/stampede"
)

func TestWrongUsageSaysWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"-nonsense":                              "-nonsense",
		"extra":                                  `"extra"`,
		"-promise p99":                           "p99<400ms",
		"-scenario redis":                        `"memcached"`,
		"-scenario groupcache -servers a:1":      `-servers: only ["memcached"]`,
		"-scenario sentinel -db-cost 1s":         `-db-cost: only ["memcached" "groupcache" "autorefresh"]`,
		"-scenario sentinel -servers a:1":        `-servers: only ["memcached"]`,
		"-scenario autorefresh -servers a:1":     `-servers: only ["memcached"]`,
		"-scenario autorefresh -promise db<2x":   "the scenario autorefresh does not have",
		"-scenario all -servers a:1":             "-servers",
		"-scenario memcached -sentinels a:1":     `-sentinels: only ["sentinel"]`,
		"-name x":                                `-name: only ["sentinel"]`,
		"-scenario sentinel -promise db<2x":      "the scenario sentinel does not have",
		"-scenario all -promise lost=0":          "the scenario memcached does not have",
		"-promise lost=0":                        "db<0.1x",
		"-sentinels a:1 -promise errors@hung<1%": "load",
		"-sentinels a:1 -faults":                 "theirs to command",
		"-sentinels a":                           `"a" is not host:port, as in host1:26379`,
		"-sentinels a:1,a:1":                     "twice",
		"-sentinels a:1 -in-process":             "choose one",
		"-sentinels a:1 -servers b:1":            "-servers: only",
		"-rate 5":                                "-rate 5: must be from 10",
		"-rate -1":                               "-rate",
		"-workers 0":                             "-workers",
		"-keys 99":                               "-keys",
		"-value-size 7":                          "-value-size",
		"-db-slots 0":                            "-db-slots",
		"-duration 2s":                           "-duration 2s: must be from 3s",
		"-duration 99999h":                       "-duration",
		"-timeout 0s":                            "-timeout",
		"-db-cost 1us":                           "-db-cost",
		"-max-bytes 16MB":                        "16MiB",
		"-max-bytes -1":                          "16MiB",
		"-max-bytes 1":                           "-max-bytes 1: must be from 65536",
		"-faults":                                "-servers",
		"-servers a":                             `"a" is not host:port`,
		"-servers :11211":                        `":11211" is not host:port`,
		"-servers a:11211,":                      `"" is not host:port`,
		"-servers a:1,a:1":                       "twice",
		"-servers http://a:11211":                `use "a:11211"`, // it was taken for the path of a unix socket
		"-servers unix:/run/memcached.sock":      `use "/run/memcached.sock"`,
		"-servers a:11211/0":                     `use "a:11211"`,
		"-servers a:no-such-service":             "use a number from 1 to 65535, or the name of a service",
		"-servers a:1 -in-process":               "choose one",
		"-servers /run/memcached -faults":        "unix socket",
		"-listen":                                "-listen",
		"-duration 5":                            "-duration",
		"-servers a:1 -faults -max-bytes 9":      "-max-bytes",
	} {
		_, err := parse(strings.Fields(args), false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", args, err, want)
		}
	}
}

func TestDefaultsDependOnWhoseServersAreUsed(t *testing.T) {
	for args, want := range map[string]struct {
		duration time.Duration
		rate     int
	}{
		"":                                   {48 * time.Second, 2000},
		"-servers a:1":                       {30 * time.Second, 500},
		"-servers a:1,/run/memcached":        {30 * time.Second, 500},
		"-servers a:1 -faults":               {72 * time.Second, 500},
		"-servers a:1 -rate 99 -duration 4s": {4 * time.Second, 99},
		"-sentinels a:1":                     {30 * time.Second, 500},
		"-scenario sentinel":                 {48 * time.Second, 2000},
		"-scenario autorefresh":              {48 * time.Second, 2000},
		"-scenario groupcache":               {48 * time.Second, 2000},
	} {
		s, err := parse(strings.Fields(args), true)
		if err != nil || s.duration != want.duration || s.rate != want.rate {
			t.Errorf("%q: %v, %d/s, %v; want %v, %d/s", args, s.duration, s.rate, err, want.duration, want.rate)
		}
		if len(s.promises) != 1 || len(s.promises[s.scenario]) < 3 || s.maxBytes != 16<<20 || !s.open || s.ttl() <= s.duration {
			t.Errorf("%q: %d promises, %d bytes, open %t, time to live %v; want the defaults", args, len(s.promises[s.scenario]), s.maxBytes, s.open, s.ttl())
		}
	}
	if s, err := parse([]string{"-promise", "", "-open=false", "-max-bytes", "512KiB"}, true); err != nil || s.promises[record.Memcached] != nil || s.open || s.maxBytes != 512<<10 {
		t.Errorf("promises %v, open %t, %d bytes, %v; want none, false, 512 KiB", s.promises, s.open, s.maxBytes, err)
	}
	for _, args := range []string{"-h", "-help"} {
		if _, err := parse([]string{args}, true); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v, want ErrHelp", args, err)
		}
	}
}

func TestHelpNamesEveryFlagAndItsDefault(t *testing.T) {
	f, _ := flags(false)
	var defined []string
	f.VisitAll(func(g *flag.Flag) {
		defined = append(defined, g.Name)
		line := regexp.MustCompile(`(?m)^  -` + g.Name + ` .*(\n    .*)?`).FindString(help())
		if line == "" {
			t.Errorf("help lacks -%s", g.Name)
		}
		plain := slices.Contains([]string{"", "0", "0s", "false"}, g.DefValue)
		if !plain && !strings.Contains(line, g.DefValue) {
			t.Errorf("help on -%s lacks its default %q:\n%s", g.Name, g.DefValue, line)
		}
	})
	for _, match := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(help(), -1) {
		if match[1] != "h" && !slices.Contains(defined, match[1]) {
			t.Errorf("help explains -%s, which does not exist", match[1])
		}
	}
	if got := strings.Count(help(), "\n  cachedrill"); got != 5 {
		t.Errorf("help has %d examples, want five", got)
	}
	for _, rules := range []promise.Rules{outage.Rules(), failover.OwnRules(), failover.ForeignRules(), staleness.Rules(), stampede.Rules()} {
		if !strings.Contains(help(), rules.Default) {
			t.Errorf("help lacks the default promises %q", rules.Default)
		}
		for _, m := range rules.Metrics {
			if !strings.Contains(help(), m.Name) {
				t.Errorf("help lacks the metric %q", m.Name)
			}
		}
	}
	if strings.Contains(help(), "%!") {
		t.Error("help is badly formatted")
	}
}

func TestSizesAreWrittenAsTheyAreRead(t *testing.T) {
	for text, want := range map[string]string{"16MiB": "16MiB", "1024KiB": "1MiB", "1000": "1000", "1KiB": "1024"} {
		var z size
		if err := z.Set(text); err != nil || z.String() != want {
			t.Errorf("%q is read as %q, %v, want %q", text, z.String(), err, want)
		}
	}
}
