package memcache_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

const hostileTimeout = 300 * time.Millisecond

// TestHostileReplies runs every command against every kind of broken reply: nothing panics, no call
// takes longer than 1.2 times its limit, and no Get ever returns another value than the one that
// was stored.
func TestHostileReplies(t *testing.T) {
	faults := map[string]testutil.Fault{
		"garbage":        testutil.Garbage([]byte("\x00\xff nonsense\r\n")),
		"no newline":     testutil.Garbage(bytes.Repeat([]byte("x"), 100<<10)),
		"empty line":     testutil.EmptyLine(),
		"bare CRLF":      testutil.Garbage([]byte("\r\n")),
		"half a header":  testutil.Garbage([]byte("VALUE \r\n")),
		"negative size":  testutil.Garbage([]byte("VALUE k 0 -1\r\n")),
		"huge number":    testutil.Garbage([]byte("99999999999999999999999\r\n")),
		"forged size":    testutil.ForgedSize(4 << 30),
		"forged 1 GiB":   testutil.ForgedSize(1 << 30),
		"wrong key":      testutil.WrongKey(),
		"extra reply":    testutil.ExtraReply(),
		"dropped reply":  testutil.DropReply(),
		"cut reply":      testutil.CloseMidReply(7),
		"silence":        testutil.AcceptSilent(),
		"trickle":        testutil.Trickle(20*time.Millisecond, 1),
		"server error":   testutil.ServerError("out of memory"),
		"client error":   testutil.ClientError("bad command line format"),
		"endless values": testutil.Garbage(bytes.Repeat([]byte("VALUE k 0 10\r\nvalue of k\r\n"), 50)),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := testutil.StartFake(t)
			c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Timeout: hostileTimeout, MaxItemSize: 1 << 20})
			for _, key := range []string{"k", "other"} {
				eventually(t, "Set before the fault", func() bool {
					return c.Set(&memcache.Item{Key: key, Value: []byte("value of " + key)}) == nil
				})
			}
			fake.SetFault(testutil.Always(fault))
			for range 3 {
				runAllCommands(t, c)
				if c.State(fake.Addr()).String() != "closed" {
					_ = c.Reset(fake.Addr()) // so that each round meets the fault, not the breaker
				}
			}
		})
	}
}

func runAllCommands(t *testing.T, c *memcache.Client) {
	t.Helper()
	item := func() *memcache.Item { return &memcache.Item{Key: "k", Value: []byte("value of k")} }
	commands := map[string]func() error{
		"Get":            func() error { return checkValue(c.Get("k")) },
		"GetAndTouch":    func() error { return checkValue(c.GetAndTouch("k", 0)) },
		"GetMulti":       func() error { return checkValues(c.GetMulti([]string{"k", "other"})) },
		"Touch":          func() error { _ = c.Touch("k", 0); return nil },
		"Set":            func() error { _ = c.Set(item()); return nil },
		"Add":            func() error { _ = c.Add(&memcache.Item{Key: "lock", Value: []byte("1")}); return nil },
		"Replace":        func() error { _ = c.Replace(item()); return nil },
		"CompareAndSwap": func() error { _ = c.CompareAndSwap(item()); return nil },
		"Append":         func() error { _ = c.Append(&memcache.Item{Key: "absent"}); return nil },
		"Prepend":        func() error { _ = c.Prepend(&memcache.Item{Key: "absent"}); return nil },
		"Delete":         func() error { _ = c.Delete("absent"); return nil },
		"Increment":      func() error { _, _ = c.Increment("number", 1); return nil },
		"Decrement":      func() error { _, _ = c.Decrement("number", 1); return nil },
		"Ping":           func() error { _ = c.Ping(); return nil },
		"large Set": func() error {
			_ = c.Set(&memcache.Item{Key: "large", Value: make([]byte, memcache.LargeValue+1)})
			return nil
		},
	}
	var all sync.WaitGroup
	for name, command := range commands {
		all.Go(func() {
			start := time.Now()
			if err := command(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			// The bound of the contract is 1.2 × Timeout. A call without a limit waits for ever, or
			// as long as the trickle lasts.
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s took %v, want at most 1.2 × %v", name, took, hostileTimeout)
			}
		})
	}
	all.Wait()
}

func checkValue(it *memcache.Item, err error) error {
	if err != nil {
		return nil //nolint:nilerr // under these faults any error will do; a wrong value will not.
	}
	if want := "value of " + it.Key; string(it.Value) != want {
		return fmt.Errorf("key %q: got %q, want %q", it.Key, it.Value, want)
	}
	return nil
}

func checkValues(items map[string]*memcache.Item, _ error) error {
	for key, it := range items {
		if it.Key != key {
			return fmt.Errorf("key %q: got the item of %q", key, it.Key)
		}
		if err := checkValue(it, nil); err != nil {
			return err
		}
	}
	return nil
}

// TestForgedSizeMemory tells of a 20-byte header that made the client allocate 4 GiB: memory has to
// grow with the bytes received.
func TestForgedSizeMemory(t *testing.T) {
	const received = 24 << 20
	var before, after runtime.MemStats
	reply := io.MultiReader(strings.NewReader("VALUE k 0 2000000000\r\n"), io.LimitReader(endless{}, received))
	in := bufio.NewReaderSize(reply, 64<<10)
	runtime.ReadMemStats(&before)
	_, err := memcache.ReadReply(in, "k")
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("ReadReply of a cut value: %v, want io.ErrUnexpectedEOF", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 2*received+(1<<20) {
		t.Errorf("allocated %d bytes for %d received, want at most twice as many", got, received)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestItemTooLarge: the call gets a clear error, and the server is not blamed for it.
func TestItemTooLarge(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, MaxItemSize: 1000})
	if err := c.Set(&memcache.Item{Key: "large", Value: make([]byte, 1001)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(&memcache.Item{Key: "small", Value: make([]byte, 1000)}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := c.Get("large"); !errors.Is(err, memcache.ErrItemTooLarge) {
			t.Errorf("Get of 1 001 bytes with MaxItemSize 1 000: %v, want ErrItemTooLarge", err)
		}
		if _, err := c.GetMulti([]string{"large", "small"}); !errors.Is(err, memcache.ErrItemTooLarge) {
			t.Errorf("GetMulti with one of 1 001 bytes: %v, want ErrItemTooLarge", err)
		}
		if it, err := c.Get("small"); err != nil || len(it.Value) != 1000 {
			t.Errorf("Get of 1 000 bytes: %v, %v", it, err)
		}
	}
	if got := c.State(fake.Addr()).String(); got != "closed" {
		t.Errorf("breaker is %s after items that were too large, want closed", got)
	}
}

// TestExtraReply tells of a server that answered once too often: from then on, each Get returned
// the value of the Get before it.
func TestExtraReply(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	for i := range 10 {
		key := fmt.Sprint("key", i)
		if err := c.Set(&memcache.Item{Key: key, Value: []byte("value of " + key)}); err != nil {
			t.Fatal(err)
		}
	}
	fake.SetFault(testutil.Times(1, testutil.OnVerbs(testutil.ExtraReply(), "gets")))
	for i := range 10 {
		if err := checkValue(c.Get(fmt.Sprint("key", i))); err != nil {
			t.Error(err)
		}
	}
}

// TestEmptyKey tells of Set("", "flush_all"): the empty key shifted the words of the command line,
// and the value was run as a command, which emptied the server.
func TestEmptyKey(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	if err := c.Set(&memcache.Item{Key: "kept", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	before := fake.Stats()
	for _, key := range []string{"", strings.Repeat("k", 251), "a b", "a\r\nb", "a\tb", "a\x00b", "a\x7f"} {
		it := &memcache.Item{Key: key, Value: []byte("flush_all")}
		calls := map[string]error{
			"Set": c.Set(it), "Add": c.Add(it), "Replace": c.Replace(it), "Append": c.Append(it), "Prepend": c.Prepend(it),
			"CompareAndSwap": c.CompareAndSwap(it), "Delete": c.Delete(key), "Touch": c.Touch(key, 1),
		}
		_, calls["Get"] = c.Get(key)
		_, calls["GetAndTouch"] = c.GetAndTouch(key, 1)
		_, calls["GetMulti"] = c.GetMulti([]string{"kept", key})
		_, calls["Increment"] = c.Increment(key, 1)
		_, calls["Decrement"] = c.Decrement(key, 1)
		for name, err := range calls {
			if err != memcache.ErrMalformedKey { //nolint:errorlint // gomemcache's very value.
				t.Errorf("%s(%q) = %v, want ErrMalformedKey", name, key, err)
			}
		}
	}
	if after := fake.Stats(); after.BytesIn != before.BytesIn {
		t.Errorf("%d bytes were sent for keys that cannot be sent", after.BytesIn-before.BytesIn)
	}
	if err := c.Set(nil); err == nil {
		t.Error("Set(nil) = nil, want an error")
	}
}

// TestErrorLineOfMergedGets: nobody knows whose error it was, so each is asked again alone; all get
// their answer.
func TestErrorLineOfMergedGets(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}, Timeout: 20 * time.Second}) // a busy machine is no time-out
	for i := range 64 {
		key := fmt.Sprint("key", i)
		if err := c.Set(&memcache.Item{Key: key, Value: []byte("value of " + key)}); err != nil {
			t.Fatal(err)
		}
	}
	fake.SetFault(func(cmd testutil.Command) testutil.Fault {
		if len(cmd.Keys) > 1 {
			return testutil.ServerError("out of memory writing get response")
		}
		return testutil.Fault{}
	})
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for range 20 {
				it, err := c.Get(fmt.Sprint("key", i))
				if err != nil && !errors.Is(err, memcache.ErrServerError) && !errors.Is(err, memcache.ErrCacheMiss) {
					t.Errorf("Get: %v", err)
				}
				if e := checkValue(it, err); e != nil {
					t.Error(e)
				}
			}
		})
	}
	all.Wait()
	if got := c.State(fake.Addr()).String(); got != "closed" {
		t.Errorf("breaker is %s after SERVER_ERROR, want closed", got)
	}
}
