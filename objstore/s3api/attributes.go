package s3api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
)

// attributes are those that GetObjectAttributes can be asked for.
var attributes = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// getAttributes answers GetObjectAttributes. The parts of an object are counted;
// those of one with a composite checksum are listed, as AWS has it.
func (q *request) getAttributes() error {
	version, err := q.versionID()
	if err != nil {
		return err
	}
	wanted, err := q.wantedAttributes()
	if err != nil {
		return err
	}
	key, err := q.readKey()
	if err != nil {
		return err
	}
	page, err := q.partsPage()
	if err != nil {
		return err
	}
	req := objstore.GetRequest{
		Bucket: q.bucket, Key: q.key, Version: version, CustomerKey: key, NoChecksum: !wanted["Checksum"],
		Check: q.check(wanted["Checksum"] || wanted["ObjectParts"]),
	}
	info, err := q.s.store.HeadObject(q.ctx, q.caller, req)
	var parts []objstore.PartInfo
	if err == nil && wanted["ObjectParts"] && info.Parts > 0 {
		info, parts, err = q.describeParts(req)
	}
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("GetObjectAttributesResponse")
	if wanted["ETag"] {
		x.text("ETag", string(info.ETag))
	}
	if c := info.Checksum; wanted["Checksum"] && c != nil {
		x.open("Checksum")
		value, _, _ := strings.Cut(c.Value, "-") // the number of parts stands in ObjectParts
		x.text(checksumElement(c.Algorithm), value)
		x.text("ChecksumType", string(c.Type))
		x.close("Checksum")
	}
	if wanted["ObjectParts"] && info.Parts > 0 {
		objectParts(&x, info.Parts, parts, page)
	}
	if wanted["StorageClass"] {
		x.text("StorageClass", classOf(info.Meta.StorageClass))
	}
	if wanted["ObjectSize"] {
		x.int("ObjectSize", info.Size)
	}
	x.close("GetObjectAttributesResponse")
	q.setVersion(info.Version)
	q.w.Header()["Last-Modified"] = []string{info.LastModified.Std().Format(http.TimeFormat)}
	return q.sendXML(http.StatusOK, &x)
}

// wantedAttributes reads x-amz-object-attributes, which must name one at least.
func (q *request) wantedAttributes() (map[string]bool, error) {
	wanted := map[string]bool{}
	for _, line := range q.header["X-Amz-Object-Attributes"] {
		if line == "" {
			continue
		}
		for name := range strings.SplitSeq(line, ",") {
			name = strings.Trim(name, " \t")
			if !slices.Contains(attributes, name) {
				return nil, errInvalidArgument("Invalid attribute name specified.", "x-amz-object-attributes", name)
			}
			wanted[name] = true
		}
	}
	if len(wanted) == 0 {
		return nil, errInvalidRequest("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return wanted, nil
}

// partsPage is which parts GetObjectAttributes lists.
type partsPage struct{ after, max int }

func (q *request) partsPage() (p partsPage, err error) {
	if p.after, err = q.intHeader("X-Amz-Part-Number-Marker", "x-amz-part-number-marker", 0); err != nil {
		return p, err
	}
	if p.max, err = q.intHeader("X-Amz-Max-Parts", "x-amz-max-parts", objstore.MaxListKeys); err != nil {
		p.max = objstore.MaxListKeys // AWS does not mind here what is no number
	}
	p.max = min(p.max, objstore.MaxListKeys)
	return p, nil
}

// intHeader is intParam of a header; name is as clients write it.
func (q *request) intHeader(key, name string, def int) (int, error) {
	v := q.get(key)
	if v == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return 0, errInvalidArgument("Provided "+name+" not an integer or within integer range", name, v)
	}
	if n < 0 {
		return 0, errInvalidArgument("Argument "+name+" must be an integer between 0 and 2147483647", name, v)
	}
	return int(n), nil
}

// describeParts returns an object with the list of its parts; the list is nil
// where S3 tells no more than how many there are.
func (q *request) describeParts(req objstore.GetRequest) (info objstore.ObjectInfo, parts []objstore.PartInfo, err error) {
	err = q.s.store.GetObject(q.ctx, q.caller, req, func(o *engine.Object) error {
		info = o.Info
		parts, err = o.Parts()
		return err
	})
	return info, parts, err
}

// objectParts writes the element ObjectParts.
func objectParts(x *xmlWriter, count int, parts []objstore.PartInfo, page partsPage) {
	x.open("ObjectParts")
	if parts != nil {
		first := min(page.after, len(parts))
		last := min(first+page.max, len(parts))
		next := 0
		if last > first {
			next = parts[last-1].Number
		}
		x.bool("IsTruncated", last < len(parts) && page.max > 0)
		x.int("MaxParts", int64(page.max))
		x.int("NextPartNumberMarker", int64(next))
		for _, p := range parts[first:last] {
			x.open("Part")
			x.text(checksumElement(p.Checksum.Algorithm), p.Checksum.Value)
			x.int("PartNumber", int64(p.Number))
			x.int("Size", p.Size)
			x.close("Part")
		}
		x.int("PartNumberMarker", int64(page.after))
	}
	x.int("PartsCount", int64(count))
	x.close("ObjectParts")
}
