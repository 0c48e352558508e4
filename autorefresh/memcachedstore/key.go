package memcachedstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// kind is what a key is of.
type kind string

const (
	ofValue kind = "v"
	ofLease kind = "l"
)

const maxKey = 250

// namespace is the beginning of all keys of a store.
type namespace string

// isAmbiguous reports whether keys of a namespace could be those of a shorter one: a key begins
// with the namespace, a colon, its kind, and a colon or, if it is a hash, "#". Two keys are the
// same only if the longer namespace goes on like that after the shorter one.
func (n namespace) isAmbiguous() bool {
	for _, k := range []kind{ofValue, ofLease} {
		part := ":" + string(k)
		if strings.HasSuffix(string(n), part) || strings.Contains(string(n), part+":") || strings.Contains(string(n), part+"#") {
			return true
		}
	}
	return false
}

// nameOf is the key that memcached is given for a key.
func (n namespace) nameOf(k kind, key string) string {
	head := string(n) + ":" + string(k)
	if len(head)+1+len(key) <= maxKey && plain(key) {
		return head + ":" + key
	}
	sum := sha256.Sum256([]byte(key))
	return head + "#" + hex.EncodeToString(sum[:])
}

func (n namespace) namesOf(k kind, keys []string) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = n.nameOf(k, key)
	}
	return names
}

// plain reports whether memcached's protocol can carry all bytes of a key.
func plain(key string) bool {
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
