package s3api

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// tagElement is a tag in a document.
type tagElement struct {
	Key   *string
	Value *string
	Other []unknown `xml:",any"`
}

// tagDocument is the body of PutObjectTagging and PutBucketTagging.
type tagDocument struct {
	TagSet *struct {
		Tag   []tagElement
		Other []unknown `xml:",any"`
	}
	Other []unknown `xml:",any"`
}

// tagRules are the words in which tags of one place are refused.
type tagRules struct {
	most    int
	tooMany string
	system  func(key string) *apiError
}

var (
	objectTagRules = tagRules{objstore.MaxObjectTags, "Object tags cannot be greater than 10", func(key string) *apiError {
		return errTag("Your TagKey cannot be prefixed with aws:", key)
	}}
	bucketTagRules = tagRules{objstore.MaxBucketTags, "Bucket tag count cannot be greater than 50", func(key string) *apiError {
		return errTag("System tags cannot be added/updated by requester", key)
	}}
	newBucketTagRules = tagRules{objstore.MaxBucketTags, "Bucket tag count cannot be greater than 50", func(string) *apiError {
		return newError(http.StatusBadRequest, "InvalidTag",
			`User-defined tag keys can't start with "aws:". This prefix is reserved for system tags. Remove "aws:" from your tag keys and try again.`)
	}}
)

func errTag(message, key string) *apiError {
	return newError(http.StatusBadRequest, "InvalidTag", message, field("TagKey", key))
}

// tags returns what a document's elements say.
func (rules *tagRules) tags(list []tagElement) ([]objstore.Tag, error) {
	for _, t := range list {
		if t.Key == nil || t.Value == nil {
			return nil, errMalformedXML()
		}
	}
	tags := make([]objstore.Tag, len(list))
	for i, t := range list {
		tags[i] = objstore.Tag{Key: *t.Key, Value: *t.Value}
	}
	return tags, rules.check(tags)
}

// check refuses tags that there cannot be.
func (rules *tagRules) check(tags []objstore.Tag) error {
	if len(tags) > rules.most {
		return newError(http.StatusBadRequest, "BadRequest", rules.tooMany)
	}
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		switch {
		case strings.HasPrefix(t.Key, objstore.SystemTagPrefix):
			return rules.system(t.Key)
		case !objstore.ValidTagKey(t.Key):
			return errTag("The TagKey you have provided is invalid", t.Key)
		case !objstore.ValidTagValue(t.Value):
			e := errTag("The TagValue you have provided is invalid", t.Key)
			e.Fields = append(e.Fields, field("TagValue", t.Value))
			return e
		case seen[t.Key]:
			return errTag("Cannot provide multiple Tags with the same key", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}

// readTags reads the body of a request that sets tags.
func (q *request) readTags(rules *tagRules) ([]objstore.Tag, error) {
	var doc tagDocument
	if err := q.readDocument(maxConfigBytes, "Tagging", &doc); err != nil {
		return nil, err
	}
	if doc.TagSet == nil {
		return nil, nil
	}
	return rules.tags(doc.TagSet.Tag)
}

// taggingHeader reads x-amz-tagging, whose tags are written as a query is.
func (q *request) taggingHeader() ([]objstore.Tag, error) {
	return parseTagging(q.get("X-Amz-Tagging"))
}

func parseTagging(text string) ([]objstore.Tag, error) {
	bad := func() error {
		return errInvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
			"x-amz-tagging", text)
	}
	var tags []objstore.Tag
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(k)
		value, verr := url.QueryUnescape(v)
		if kerr != nil || verr != nil || seen[key] || key == "" || !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, bad()
		}
		if strings.Contains(v, "=") && !objstore.ValidTagValue(value) {
			// Pairs between something else than "&": the list is wrong, not a tag (recorded).
			return nil, bad()
		}
		seen[key] = true
		tags = append(tags, objstore.Tag{Key: key, Value: value})
	}
	return tags, objectTagRules.check(tags)
}

// writeTagSet writes the document that tells of tags.
func writeTagSet(x *xmlWriter, tags []objstore.Tag) {
	x.root("Tagging")
	x.open("TagSet")
	for _, t := range tags {
		x.open("Tag")
		x.text("Key", t.Key)
		x.text("Value", t.Value)
		x.close("Tag")
	}
	x.close("TagSet")
	x.close("Tagging")
}

// taggedObject is the object that a request for tags names.
func (q *request) taggedObject() (objstore.TagsRequest, error) {
	version, err := q.versionID()
	return objstore.TagsRequest{Bucket: q.bucket, Key: q.key, Version: version, Check: q.check(false)}, err
}

func (q *request) getObjectTagging() error {
	req, err := q.taggedObject()
	if err != nil {
		return err
	}
	tags, info, err := q.s.store.ObjectTags(q.ctx, q.caller, req)
	err = q.markerFails(err)
	if objstore.IsKind(err, objstore.KindNotFound) {
		e := q.translate(err)
		e.Fields = []sigv4.Field{field("Key", q.bucket+"/"+q.key)} // AWS names both here, and here alone
		return e
	}
	if err != nil {
		return err
	}
	q.setVersion(info.Version)
	var x xmlWriter
	writeTagSet(&x, tags)
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) putObjectTagging() error {
	req, err := q.taggedObject()
	if err != nil {
		return err
	}
	tags, err := q.readTags(&objectTagRules)
	if err != nil {
		return err
	}
	return q.setObjectTags(req, tags, http.StatusOK)
}

func (q *request) deleteObjectTagging() error {
	req, err := q.taggedObject()
	if err != nil {
		return err
	}
	return q.setObjectTags(req, nil, http.StatusNoContent)
}

func (q *request) setObjectTags(req objstore.TagsRequest, tags []objstore.Tag, status int) error {
	info, err := q.s.store.SetObjectTags(q.ctx, q.caller, req, tags)
	if err != nil {
		return q.markerFails(err)
	}
	q.settle()
	q.setVersion(info.Version)
	return q.send(status)
}

func (q *request) putBucketTagging() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	tags, err := q.readTags(&bucketTagRules)
	if err != nil {
		return err
	}
	if len(tags) == 0 {
		err = q.dropConfig(objstore.ConfigTagging)
	} else {
		var x xmlWriter
		writeTagSet(&x, tags)
		err = q.setConfig(objstore.ConfigTagging, &x)
	}
	if err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}
