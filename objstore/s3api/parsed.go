package s3api

import (
	"bytes"
	"sync"
)

// maxParsed bounds the documents that are kept parsed, of one kind.
const maxParsed = 1000

// parsed keeps what was parsed from the configuration documents of buckets, for
// what is looked at with many requests.
type parsed[T any] struct {
	mu sync.Mutex // guards the field below
	m  map[string]parsedDocument[T]
}

type parsedDocument[T any] struct {
	doc   []byte
	value T
}

// get returns what parse makes of the bucket's document. The value is shared:
// nobody changes it.
func (p *parsed[T]) get(bucket string, doc []byte, parse func([]byte) (T, error)) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.m[bucket]; ok && bytes.Equal(have.doc, doc) { // quick for the very same one
		return have.value, nil
	}
	value, err := parse(doc)
	if err != nil {
		return value, err
	}
	if p.m == nil || len(p.m) >= maxParsed {
		p.m = make(map[string]parsedDocument[T])
	}
	p.m[bucket] = parsedDocument[T]{doc, value}
	return value, nil
}
