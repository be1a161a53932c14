// SPDX-License-Identifier: Apache-2.0

import Foundation
import Linux
import Testing

@Suite struct DescriptorTests {
  @Test("the limit on descriptors can be raised to the hard limit")
  func limit() throws {
    try DescriptorLimit.raise()
    // "Max open files  SOFT  HARD  files"
    let text = try String(contentsOfFile: "/proc/self/limits", encoding: .utf8)
    let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Max open files") })
    let fields = line.split(separator: " ").dropFirst(3)
    #expect(fields.first == fields.dropFirst().first)
    let current = try DescriptorLimit.current
    #expect(fields.first == "unlimited" || fields.first == "\(current)")
  }

  private let directory: Temporary

  init() throws { directory = try Temporary() }

  @Test("an error of opening a file has the path and the reason")
  func missing() {
    #expect(throws: KernelError("open /nonexistent", errno: KernelError.noEntry)) {
      _ = try OwnedDescriptor(opening: "/nonexistent", .read)
    }
    #expect(throws: KernelError.self) { _ = try OwnedDescriptor(opening: "\(directory.path)/new", .write) }
  }

  @Test("replacing truncates or creates a file, and writing keeps the rest of a file")
  func write() throws {
    let path = try directory.file("file", Array("old text".utf8))
    let write = try OwnedDescriptor(opening: path, .write)
    try write.write(Array("new".utf8))
    #expect(try Sysfs.read(path) == "new text")
    let replace = try OwnedDescriptor(opening: path, .replace)
    #expect(try Sysfs.read(path) == "")
    try replace.write([])
    try replace.write(Array("x".utf8))
    #expect(try Sysfs.read(path) == "x")
    _ = try OwnedDescriptor(opening: "\(directory.path)/new", .replace)
    #expect(try Sysfs.read("\(directory.path)/new") == "")
  }

  @Test("a read starts at the current position or at an offset, and ends at the end of the file")
  func read() throws {
    let file = try OwnedDescriptor(opening: try directory.file("file", [1, 2, 3, 4, 5]), .read)
    #expect(try file.read(upTo: 2) == [1, 2])
    #expect(try file.read(2, at: 3) == [4, 5])
    #expect(try file.read(9, at: 4) == [5])
    #expect(try file.read(9, at: 5) == [])
    #expect(try file.read(upTo: 100) == [3, 4, 5])
    #expect(try file.read(upTo: 100) == [])
    #expect(try file.size(of: "file") == 5)
  }

  @Test("the size of a directory or a device is an error")
  func size() throws {
    let folder = try OwnedDescriptor(opening: directory.path, .read)
    #expect(throws: KernelError("read folder", errno: 21)) { try folder.size(of: "folder") }
    let null = try OwnedDescriptor(opening: "/dev/null", .read)
    #expect(throws: KernelError("read null", .wrongFile)) { try null.size(of: "null") }
  }

  @Test("a full disk is an error")
  func full() throws {
    let full = try OwnedDescriptor(opening: "/dev/full", .write)
    #expect(throws: KernelError("write", errno: 28)) { try full.write([1]) }
  }

  @Test("an attribute is read without its newline, and a link gives the last component of its target")
  func sysfs() throws {
    #expect(try Sysfs.read(directory.file("a", Array("0x1b36\n".utf8))) == "0x1b36")
    #expect(try Sysfs.read(directory.file("b", Array("two\nlines\n".utf8))) == "two\nlines")
    #expect(try Sysfs.read(directory.file("c")) == "")
    #expect(try Sysfs.link(directory.link("d", to: "../../drivers/vfio-pci")) == "vfio-pci")
    #expect(try Sysfs.link(directory.link("e", to: "plain")) == "plain")
    #expect(throws: KernelError.self) { try Sysfs.link("\(directory.path)/a") }
  }

  @Test("an error of writing an attribute has the text and the path")
  func sysfsWrite() throws {
    let path = try directory.file("attribute")
    try Sysfs.write("vfio-pci", to: path)
    #expect(try Sysfs.read(path) == "vfio-pci")
    #expect(throws: KernelError("write '0000:01:00.0' to /dev/full", errno: 28)) {
      try Sysfs.write("0000:01:00.0", to: "/dev/full")
    }
  }

  @Test("the names in a directory are sorted, without . and ..")
  func list() throws {
    for name in ["b", "a", "c"] { _ = try directory.file(name) }
    #expect(try Sysfs.list(directory.path) == ["a", "b", "c"])
    #expect(throws: KernelError("list /nonexistent", errno: KernelError.noEntry)) {
      try Sysfs.list("/nonexistent")
    }
    let empty = try Temporary()
    #expect(try Sysfs.list(empty.path) == [])
  }
}
