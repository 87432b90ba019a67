package s3api

import (
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// Tags as condition keys: those that a request gives, and those that are there.

func tagKeys(tags []objstore.Tag) (keys []string, ok bool) {
	for _, t := range tags {
		keys = append(keys, t.Key)
	}
	return keys, len(keys) > 0
}

func tagValue(tags []objstore.Tag, lower string) ([]string, bool) {
	i := slices.IndexFunc(tags, func(t objstore.Tag) bool { return strings.EqualFold(t.Key, lower) })
	if i < 0 {
		return nil, false
	}
	return []string{tags[i].Value}, true
}

// requestTags are the tags that the request gives its object. A copy that takes
// those of its source along gives these, whatever tags its header has.
func (q *request) requestTags() []objstore.Tag {
	if q.op == "PutObjectTagging" {
		return q.tagsInBody()
	}
	if q.op == "PutObject" && !q.replacesTags() {
		if src, ok := q.authorizedSource(q.op); ok {
			from := conditionKeys{q: q, bucket: src.bucket, key: src.key, version: string(src.version)}
			return from.existingTags()
		}
	}
	tags, _ := q.taggingHeader() // bad ones are refused by the handler
	return tags
}

// replacesTags reports whether a copy has tags of its own.
func (q *request) replacesTags() bool { return q.get("X-Amz-Tagging-Directive") == "REPLACE" }

// bucketTags are the tags that the request gives its bucket.
func (q *request) bucketTags() []objstore.Tag {
	switch q.op {
	case "CreateBucket":
		var doc struct{ Tags struct{ Tag []tagElement } }
		if q.peekXML("CreateBucketConfiguration", &doc) {
			return completeTags(doc.Tags.Tag)
		}
	case "PutBucketTagging":
		return q.tagsInBody()
	}
	return nil
}

// tagsInBody are the tags of a request whose document they are.
func (q *request) tagsInBody() []objstore.Tag {
	var doc tagDocument
	if !q.peekXML("Tagging", &doc) || doc.TagSet == nil {
		return nil
	}
	return completeTags(doc.TagSet.Tag)
}

// completeTags are those with key and value: a document with others is refused by
// the handler.
func completeTags(list []tagElement) (tags []objstore.Tag) {
	for _, t := range list {
		if t.Key != nil && t.Value != nil {
			tags = append(tags, objstore.Tag{Key: *t.Key, Value: *t.Value})
		}
	}
	return tags
}

type objectName struct{ bucket, key, version string }

// existingTags are the tags of the object as it is. They are looked at once for all
// that is asked of a request, and what is done with the object is then held to them.
func (c *conditionKeys) existingTags() []objstore.Tag {
	if c.key == "" {
		return nil
	}
	name := objectName{c.bucket, c.key, c.version}
	tags, ok := c.q.seen[name]
	if !ok {
		if c.q.seen == nil {
			c.q.seen = map[objectName][]objstore.Tag{}
		}
		tags = c.lookUpTags()
		c.q.seen[name] = tags
	}
	return tags
}

func (c *conditionKeys) lookUpTags() []objstore.Tag {
	req := objstore.TagsRequest{Bucket: c.bucket, Key: c.key}
	if c.version != "" {
		version, err := c.q.s.parseVersionID(c.version)
		if err != nil {
			return nil
		}
		req.Version = version
	}
	tags, _, err := c.q.s.store.ObjectTags(c.q.ctx, c.q.caller, req)
	if err != nil {
		return nil
	}
	return tags
}
