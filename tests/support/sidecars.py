"""Sidecars as programs write them, small, and the flowers that are tagged in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flowercli.tagging.xmp import Record

ROSE = Record("rose", "Rosa", 0.9759, "garden", "ab" * 32, "model.int8.onnx")
TULIP = ROSE._replace(keyword="tulip", scientific_name="Tulipa", confidence=0.91, identity="cd" * 32)
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'

DIGIKAM = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:digiKam="http://www.digikam.org/ns/1.0/"
    xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
   digiKam:PickLabel="0"
   digiKam:ColorLabel="3"
   xmp:Rating="4">
   <digiKam:TagsList>
    <rdf:Seq>
     <rdf:li>Plants/Garden</rdf:li>
    </rdf:Seq>
   </digiKam:TagsList>
   <MicrosoftPhoto:LastKeywordXMP>
    <rdf:Bag>
     <rdf:li>Plants/Garden</rdf:li>
    </rdf:Bag>
   </MicrosoftPhoto:LastKeywordXMP>
   <lr:hierarchicalSubject>
    <rdf:Bag>
     <rdf:li>Plants|Garden</rdf:li>
    </rdf:Bag>
   </lr:hierarchicalSubject>
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Garden</rdf:li>
    </rdf:Bag>
   </dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

# With tabs, without a packet, an ingredient that has keywords of its own, and two languages of a title.
LIGHTROOM = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000        ">
\t<rdf:RDF {RDF}>
\t\t<rdf:Description rdf:about=""
\t\t\txmlns:xmp="http://ns.adobe.com/xap/1.0/"
\t\t\txmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
\t\t\txmlns:dc="http://purl.org/dc/elements/1.1/"
\t\t\txmlns:lr="http://ns.adobe.com/lightroom/1.0/"
\t\t\txmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
\t\t\txmp:CreatorTool='Say "cheese" > smile'
\t\t\tcrs:Exposure2012="+0.50">
\t\t\t<xmpMM:Pantry>
\t\t\t\t<rdf:Bag>
\t\t\t\t\t<rdf:li>
\t\t\t\t\t\t<rdf:Description>
\t\t\t\t\t\t\t<dc:subject><rdf:Bag><rdf:li>ingredient</rdf:li></rdf:Bag></dc:subject>
\t\t\t\t\t\t</rdf:Description>
\t\t\t\t\t</rdf:li>
\t\t\t\t</rdf:Bag>
\t\t\t</xmpMM:Pantry>
\t\t\t<dc:title>
\t\t\t\t<rdf:Alt>
\t\t\t\t\t<rdf:li xml:lang="x-default">Summer</rdf:li>
\t\t\t\t\t<rdf:li xml:lang="de">Sommer &amp; Sonne</rdf:li>
\t\t\t\t</rdf:Alt>
\t\t\t</dc:title>
\t\t\t<dc:subject>
\t\t\t\t<rdf:Bag>
\t\t\t\t\t<rdf:li>Holiday</rdf:li>
\t\t\t\t\t<rdf:li>2026</rdf:li>
\t\t\t\t</rdf:Bag>
\t\t\t</dc:subject>
\t\t\t<lr:hierarchicalSubject>
\t\t\t\t<rdf:Bag>
\t\t\t\t\t<rdf:li>When|2026</rdf:li>
\t\t\t\t</rdf:Bag>
\t\t\t</lr:hierarchicalSubject>
\t\t</rdf:Description>
\t</rdf:RDF>
</x:xmpmeta>
"""

DARKTABLE = f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF {RDF}>
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
   exif:DateTimeOriginal="2026:06:01 10:15:00.000"
   darktable:xmp_version="5"
   darktable:auto_presets_applied="1">
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="exposure"
      darktable:params="gz02eJxjYGBgYAFiCQYYOOHEgAYY0QVwggZ7CB6pfNoAAE4gGQg="/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""

# exiftool, which Immich runs: a description each namespace, and room to grow.
IMMICH = f"""<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.85'>
<rdf:RDF {RDF.replace('"', "'")}>

 <rdf:Description rdf:about='uuid:faf5bdd5-ba3d-11da-ad31-d33d75182f1b'
  xmlns:digiKam='http://www.digikam.org/ns/1.0/'>
  <digiKam:TagsList>
   <rdf:Seq>
    <rdf:li>People/Anna</rdf:li>
   </rdf:Seq>
  </digiKam:TagsList>
 </rdf:Description>

 <rdf:Description rdf:about='uuid:faf5bdd5-ba3d-11da-ad31-d33d75182f1b'
  xmlns:dc='http://purl.org/dc/elements/1.1/'>
  <dc:description>
   <rdf:Alt>
    <rdf:li xml:lang='x-default'>At the lake</rdf:li>
   </rdf:Alt>
  </dc:description>
 </rdf:Description>
</rdf:RDF>
</x:xmpmeta>
{(" " * 99 + chr(10)) * 20}<?xpacket end='w'?>"""

PROGRAMS = {"digiKam": DIGIKAM, "Lightroom": LIGHTROOM, "darktable": DARKTABLE, "Immich": IMMICH}


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder, hidden ones too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
