package groupcache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// A write is done where a peer has said so by Done. After all else it is told over HTTP, or there
// is an error that names the peer.
func TestWhatIsToldByFramesIsDoneIfThePeerSaysSo(t *testing.T) {
	for what, answer := range map[string]func(stream uint32) []byte{
		"a refusal":                func(stream uint32) []byte { return rawAnswer(rawRefused, 0, stream, "\x05") },
		"that it is stale":         func(stream uint32) []byte { return rawAnswer(rawRefused, 0, stream, "\x08") },
		"a value":                  func(stream uint32) []byte { return rawAnswer(rawValue, 0, stream, "\x00\x00\x00\x00\x00\x00\x00\x00v") },
		"an absence":               func(stream uint32) []byte { return rawAnswer(rawNone, 0, stream, "\x01\x94\x01") },
		"that another one is done": func(stream uint32) []byte { return rawAnswer(rawDone, 0, stream+1<<14, "") },
		"nothing but the end":      func(uint32) []byte { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			s := newSource()
			owner := startNode(t, s, nil)
			asker := startNode(t, s, func(o *groupcache.Options) { o.PeerTimeout = 5 * time.Second })
			owner.takeOver(t, rawSwitches+rawMark+"\r\n", func(conn net.Conn, in *bufio.Reader) {
				for {
					kind, stream, _, err := rawRequest(in)
					if err != nil {
						return
					}
					b := rawAnswer(rawGreets, 0, stream, "\x0a\x04even\x0a\x011")
					if kind != rawProbe {
						b = answer(stream)
					}
					if _, err := conn.Write(b); err != nil || b == nil {
						return
					}
				}
			})
			if err := asker.instance.SetPeers(owner.url); err != nil {
				t.Fatal(err)
			}
			framed(t, asker)
			key := "k"
			if err := owner.group.Set(t.Context(), key, []byte("old"), time.Time{}, false); err != nil {
				t.Fatal(err)
			}
			err := asker.group.Remove(t.Context(), key)
			v, errGet := get(t.Context(), owner.group, key)
			switch {
			case errGet != nil:
				t.Error(errGet)
			case err == nil && v == "old": // it may have been told over HTTP
				t.Error("a removal that has not arrived is taken for done")
			case err != nil && (!errors.Is(err, groupcache.ErrPeerUnavailable) || !strings.Contains(err.Error(), owner.url)):
				t.Errorf("Remove: %v", err)
			}
		})
	}
}

// What a peer could not be told by frames, as it hung, it is told before it is asked: an old value
// is not seen again.
func TestAPeerThatHungByFramesIsToldBeforeItIsAsked(t *testing.T) {
	s := newSource()
	asker, owner, w := behindWire(t, s, func(o *groupcache.Options) { o.PeerTimeout = 200 * time.Millisecond })
	key := "k"
	if err := asker.group.Set(t.Context(), key, []byte("old"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t.Context(), owner.group, key); err != nil || v != "old" {
		t.Fatalf("%q, %v", v, err)
	}
	w.frozen.Store(true)
	defer w.frozen.Store(false)
	if err := asker.group.Remove(t.Context(), key); !errors.Is(err, groupcache.ErrPeerUnavailable) || !strings.Contains(err.Error(), w.url()) {
		t.Errorf("Remove: %v", err)
	}
	w.frozen.Store(false)
	for range 50 {
		if v, err := get(t.Context(), asker.group, key); err != nil || v == "old" {
			t.Fatalf("%q, %v", v, err)
		}
		time.Sleep(time.Millisecond)
	}
	eventually(t, "the peer is told", func() bool {
		v, err := get(t.Context(), owner.group, key)
		return err == nil && v == "value of "+key
	})
}

// A GetMulti, and those who wait for the same loads, do not wait for an owner that hangs.
func TestGetMultiIsNotHeldUpByAnOwnerThatHangsByFrames(t *testing.T) {
	asker, _, w := behindWire(t, newSource(), func(o *groupcache.Options) { o.Silence = 50 * time.Millisecond })
	w.frozen.Store(true)
	defer w.frozen.Store(false)
	var keys []string
	for i := range 60 {
		keys = append(keys, fmt.Sprint("key ", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			if got, err := asker.group.GetMulti(ctx, keys); err != nil || len(got) != len(keys) {
				t.Errorf("%d values, %v", len(got), err)
			}
		})
	}
	callers.Wait()
}
