package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// settings are the flags.
type settings struct {
	scenario string
	seed     uint64
	duration time.Duration
	promises map[string][]promise.Promise // by scenario

	rate, workers, keys, valueSize int
	timeout                        time.Duration
	dbCost                         time.Duration
	dbSlots                        int

	inProcess bool
	servers   []string
	faults    bool
	sentinels []string
	name      string
	access    access
	maxBytes  size
	yes       bool
	metrics   string

	listen  string
	noWeb   bool
	open    bool
	out     string
	version bool

	stdin io.Reader // who answers questions

	raw raw
}

const (
	scenarioAll = "all"

	ownDuration = 48 * time.Second
	ownRate     = 2000

	foreignDuration       = 30 * time.Second
	foreignFaultsDuration = 72 * time.Second
	foreignRate           = 500

	mebibyte = 1 << 20
	// longestTTL is as long as memcached takes a time to live for one, and not for a date.
	longestTTL = 30 * 24 * time.Hour
)

// raw is what flags cannot take apart.
type raw struct {
	promises, servers, sentinels string
	given                        map[string]bool // flags on the command line
}

// flags returns the flags and where their values go. help explains them.
func flags(canOpen bool) (*flag.FlagSet, *settings) {
	s := &settings{maxBytes: 16 * mebibyte}
	f := flag.NewFlagSet("cachedrill", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.scenario, "scenario", record.Memcached, "")
	f.Uint64Var(&s.seed, "seed", 1, "")
	f.DurationVar(&s.duration, "duration", 0, "")
	f.StringVar(&s.raw.promises, "promise", "", "")
	f.IntVar(&s.rate, "rate", 0, "")
	f.IntVar(&s.workers, "workers", 128, "")
	f.IntVar(&s.keys, "keys", 20_000, "")
	f.IntVar(&s.valueSize, "value-size", 100, "")
	f.DurationVar(&s.timeout, "timeout", 500*time.Millisecond, "")
	f.DurationVar(&s.dbCost, "db-cost", 5*time.Millisecond, "")
	f.IntVar(&s.dbSlots, "db-slots", 8, "")
	f.BoolVar(&s.inProcess, "in-process", false, "")
	f.StringVar(&s.raw.servers, "servers", "", "")
	f.BoolVar(&s.faults, "faults", false, "")
	f.StringVar(&s.raw.sentinels, "sentinels", "", "")
	f.StringVar(&s.name, "name", "mymaster", "")
	f.StringVar(&s.access.user, "user", "", "")
	f.StringVar(&s.access.sentinelUser, "sentinel-user", "", "")
	f.BoolVar(&s.access.tls, "tls", false, "")
	f.StringVar(&s.access.authorities, "tls-ca", "", "")
	f.Var(&s.maxBytes, "max-bytes", "")
	f.BoolVar(&s.yes, "yes", false, "")
	f.StringVar(&s.metrics, "metrics", "", "")
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "")
	f.BoolVar(&s.noWeb, "no-web", false, "")
	f.BoolVar(&s.open, "open", canOpen, "")
	f.StringVar(&s.out, "out", "", "")
	f.BoolVar(&s.version, "version", false, "")
	return f, s
}

// parse reads the command line. flag.ErrHelp means that help was asked for; any other error is one
// of usage.
func parse(args []string, canOpen bool) (settings, error) {
	f, s := flags(canOpen)
	if err := f.Parse(args); err != nil {
		return *s, err
	}
	if f.NArg() > 0 {
		return *s, fmt.Errorf("unexpected argument %q: everything is a flag", f.Arg(0))
	}
	s.raw.given = make(map[string]bool)
	f.Visit(func(g *flag.Flag) { s.raw.given[g.Name] = true })
	if s.raw.servers != "" {
		s.servers = strings.Split(s.raw.servers, ",")
	}
	if s.raw.sentinels != "" {
		s.sentinels = strings.Split(s.raw.sentinels, ",")
		if !s.raw.given["scenario"] {
			s.scenario = record.Sentinel
		}
	}
	full := s.withDefaults()
	err := full.validate()
	return full, err
}

// foreign reports whether the servers are there already.
func (s settings) foreign() bool { return len(s.servers)+len(s.sentinels) > 0 }

// withDefaults fills in what depends on whose servers are used.
func (s settings) withDefaults() settings {
	duration, rate := ownDuration, ownRate
	if s.foreign() {
		duration, rate = foreignDuration, foreignRate
		if s.faults {
			duration = foreignFaultsDuration
		}
	}
	if s.duration == 0 {
		s.duration = duration
	}
	if s.rate == 0 {
		s.rate = rate
	}
	return s
}

// ttl returns how long values live: longer than the drill.
func (s settings) ttl() time.Duration { return (2*s.duration + time.Minute).Round(time.Second) }

func (s *settings) validate() error {
	if err := s.validateScenario(); err != nil {
		return err
	}
	for _, n := range []struct {
		flag             string
		value, low, high float64
	}{
		{"rate", float64(s.rate), 10, 100_000},
		{"workers", float64(s.workers), 1, 10_000},
		{"keys", float64(s.keys), 100, 200_000},
		{"value-size", float64(s.valueSize), 8, 512 << 10},
		{"db-slots", float64(s.dbSlots), 1, 10_000},
		{"max-bytes", float64(s.maxBytes), 64 << 10, 1 << 40},
	} {
		if n.value < n.low || n.value > n.high {
			return fmt.Errorf("-%s %.0f: must be from %.0f to %.0f", n.flag, n.value, n.low, n.high)
		}
	}
	for _, d := range []struct {
		flag             string
		value, low, high time.Duration
	}{
		{"duration", s.duration, 3 * time.Second, (longestTTL - time.Hour) / 2},
		{"timeout", s.timeout, time.Millisecond, time.Minute},
		{"db-cost", s.dbCost, 100 * time.Microsecond, 10 * time.Second},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("-%s %v: must be from %v to %v", d.flag, d.value, d.low, d.high)
		}
	}
	return s.validateServers()
}

// validateScenario checks the scenario and the flags that only some of them have, and reads the
// promises.
func (s *settings) validateScenario() error {
	chosen := s.scenarios()
	if len(chosen) == 0 {
		return fmt.Errorf("-scenario %q: there are %s", s.scenario, scenarioNames())
	}
	withSource := []string{record.Memcached, record.Groupcache, record.Autorefresh}
	for name, only := range map[string][]string{
		"servers": {record.Memcached}, "db-cost": withSource, "db-slots": withSource,
		"sentinels": {record.Sentinel}, "name": {record.Sentinel},
	} {
		if s.raw.given[name] && !slices.Contains(only, s.scenario) && (s.scenario != scenarioAll || s.foreign()) {
			return fmt.Errorf("-%s: only %q has it, not the scenario %q", name, only, s.scenario)
		}
	}
	s.promises = make(map[string][]promise.Promise)
	for _, c := range chosen {
		rules, text := c.rules(*s), s.raw.promises
		if !s.raw.given["promise"] {
			text = rules.Default
		}
		var err error
		if s.promises[c.name], err = rules.Parse(text); err != nil {
			return fmt.Errorf("-promise: %w", err)
		}
	}
	return nil
}

func (s settings) validateServers() error {
	switch {
	case len(s.sentinels) > 0 && s.faults:
		return errors.New("-faults: not with -sentinels; cachedrill does not break clusters that others use, and failing them over is theirs to command")
	case len(s.servers) == 0 && s.faults:
		return errors.New("-faults: only with -servers; a drill on servers of its own always has faults")
	case s.foreign() && s.inProcess:
		return errors.New("-in-process and -servers or -sentinels: choose one")
	case len(s.sentinels) == 0 && s.access != (access{}):
		return errors.New("-user, -sentinel-user, -tls and -tls-ca: only with -sentinels")
	case s.name == "":
		return errors.New("-name: say what the sentinels call the primary")
	}
	if err := s.access.validate(); err != nil {
		return err
	}
	if err := validateAddrs("sentinels", "host1:26379,host2:26379", s.sentinels); err != nil {
		return err
	}
	for _, addr := range s.servers {
		if s.faults && strings.Contains(addr, "/") {
			return fmt.Errorf("-servers: %q: faults need host:port, not a unix socket", addr)
		}
	}
	tcp := slices.DeleteFunc(slices.Clone(s.servers), func(addr string) bool { return strings.Contains(addr, "/") })
	if err := validateAddrs("servers", "cache1:11211,cache2:11211", tcp); err != nil || len(s.servers) == 0 {
		return err
	}
	if _, err := memcache.NewWithOptions(nil, memcache.Options{Servers: s.servers}); err != nil { // which starts nothing
		return fmt.Errorf("-servers: %w", err)
	}
	return nil
}

// validateAddrs checks the addresses that a flag lists.
func validateAddrs(flag, example string, addrs []string) error {
	for i, addr := range addrs {
		if slices.Contains(addrs[:i], addr) {
			return fmt.Errorf("-%s: %q is listed twice", flag, addr)
		}
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return fmt.Errorf("-%s: %q is not host:port, as in %s", flag, addr, example)
		}
	}
	return nil
}

// size is a number of bytes, such as 16MiB.
type size int64

// String returns the size in the largest unit that has no remainder.
func (z *size) String() string {
	if *z > 0 && *z%mebibyte == 0 {
		return strconv.FormatInt(int64(*z/mebibyte), 10) + "MiB"
	}
	return strconv.FormatInt(int64(*z), 10)
}

// Set reads a number of bytes, with KiB or MiB behind it if need be.
func (z *size) Set(text string) error {
	unit := int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": mebibyte} {
		if number, found := strings.CutSuffix(text, suffix); found {
			text, unit = number, factor
		}
	}
	n, err := strconv.ParseInt(text, 10, 40)
	if err != nil || n < 0 {
		return errors.New("use a number of bytes, as 16MiB, 512KiB or 100000")
	}
	*z = size(n * unit)
	return nil
}
