// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct LocalKernelTests {
  /// Returns the start of a bzImage with this version.
  private static func image(_ version: String) -> Data {
    var bytes = [UInt8](repeating: 0, count: 0x400)
    bytes.replaceSubrange(0x202..<0x206, with: "HdrS".utf8)
    (bytes[0x20E], bytes[0x20F]) = (0x10, 0x01)
    let text = Array("\(version) (somebody@somewhere) #1 SMP".utf8)
    bytes.replaceSubrange(0x310..<(0x310 + text.count), with: text)
    return Data(bytes)
  }

  /// Calls `body` with a new directory that has these files.
  private func withFiles(_ files: [String: Data], _ body: (URL) throws -> Void) throws {
    let directory = FileManager.default.temporaryDirectory.appending(path: "kernel-\(UUID().uuidString)")
      .standardizedFileURL
    defer { try? FileManager.default.removeItem(at: directory) }  // only a leftover
    for (name, data) in files {
      let file = directory.appending(path: name)
      try file.deletingLastPathComponent().makeDirectory()
      try data.write(to: file)
    }
    try body(directory)
  }

  @Test("reads the version from the setup header")
  func version() {
    #expect(LocalKernel.version(inImage: Self.image("6.14.0-rc3+")) == "6.14.0-rc3+")
    #expect(LocalKernel.version(inImage: Data("#!/bin/sh\n".utf8)) == nil)
    #expect(LocalKernel.version(inImage: Data(count: 0x400)) == nil)
    #expect(LocalKernel.version(inImage: Self.image("6.14").prefix(0x300)) == nil)
  }

  @Test(
    "reads the version from the name of a package",
    arguments: [
      ("linux-image-6.12.95+deb12-amd64", "6.12.95+deb12-amd64"),
      ("linux-image-unsigned-6.9.1-amd64", "6.9.1-amd64"),
      ("linux-binary-7.3.4+deb13-amd64", "7.3.4+deb13-amd64"), ("linux-modules-7.3.4", "7.3.4"),
      ("linux-image-amd64", nil), ("linux-headers-7.3.4", nil),
    ])
  func package(name: String, version: String?) { #expect(LocalKernel.version(ofPackage: name) == version) }

  @Test("finds the packages beside a package of the new layout")
  func packages() throws {
    let version = "7.3.4+deb13-amd64"
    let parts = ["linux-binary", "linux-modules", "linux-base"].map { "\($0)-\(version)_7.3.4-1_amd64.deb" }
    let dependencies = "Depends: linux-base-\(version) (= 7.3.4-1), linux-binary-\(version) (= 7.3.4-1)"
    for (package, file) in [
      ("linux-image-\(version)", "image.deb"), ("linux-binary-\(version)", parts[0]),
      ("linux-modules-\(version)", parts[1]),
    ] {
      let fields = AptFields("Package: \(package)\n\(dependencies)\n")
      let found = try LocalKernel.files(fields, in: file, beside: parts + [file, "other_1_amd64.deb"])
      #expect(found.version == version)
      #expect(found.files == parts)
    }
    let fields = AptFields("Package: linux-image-\(version)\n\(dependencies)\n")
    let error = #expect(throws: LabError.self) {
      try LocalKernel.files(fields, in: "image.deb", beside: ["image.deb", parts[0]])
    }
    #expect(error?.description.hasPrefix("linux-modules-\(version): package not found") ?? false)
  }

  @Test("a package of the old layout needs no other package")
  func oldPackage() throws {
    let fields = AptFields("Package: linux-image-6.14.0\nDepends: kmod, linux-base (>= 4.3~)\n")
    let found = try LocalKernel.files(fields, in: "a.deb", beside: ["a.deb"])
    #expect(found.version == "6.14.0")
    #expect(found.files == ["a.deb"])
    let other = AptFields("Package: linux-image-amd64\n")
    #expect(throws: LabError.self) { try LocalKernel.files(other, in: "a.deb", beside: ["a.deb"]) }
  }

  @Test("finds a build tree")
  func buildTree() throws {
    try withFiles(["arch/x86/boot/bzImage": Self.image("6.14.0")]) { directory in
      let kernel = try LocalKernel(path: directory.path)
      #expect(kernel.version == "6.14.0")
      #expect(kernel.form == .buildTree(directory))
    }
  }

  @Test(
    "finds the modules of an image, from the image and from its directory",
    arguments: [
      ("bzImage", "modules/6.14.0"), ("vmlinuz", "lib/modules/6.14.0"),
      ("vmlinuz-6.14.0", "usr/lib/modules/6.14.0"), ("boot/vmlinuz-6.14.0", "lib/modules/6.14.0"),
      ("usr/lib/modules/6.14.0/vmlinuz", "usr/lib/modules/6.14.0"),
    ])
  func image(image: String, modules: String) throws {
    try withFiles([image: Self.image("6.14.0"), "\(modules)/modules.order": Data()]) { directory in
      for path in [directory, directory.appending(path: image)] {
        let kernel = try LocalKernel(path: path.path)
        guard case .image(let found, let folder) = kernel.form else {
          Issue.record("\(path.path): the form is \(kernel.form)")
          continue
        }
        #expect(found.path == directory.appending(path: image).path)
        #expect(folder.standardizedFileURL.path == directory.appending(path: modules).path)
      }
    }
  }

  @Test("names the cause and the remedy of an unusable path")
  func unusable() throws {
    try withFiles([
      "text/vmlinuz": Data("text".utf8), "none/readme": Data(), "lone/vmlinuz": Self.image("6.14.0"),
      "two/vmlinuz-1": Self.image("1"), "two/vmlinuz-2": Self.image("2"),
    ]) { directory in
      for (path, words) in [
        ("missing", "no such kernel or file; use"), ("text", "not a kernel in the format bzImage; use"),
        ("none", "no arch/x86/boot/bzImage and no vmlinuz; build"), ("lone", "no modules of 6.14.0"),
        ("two", "2 kernels; use the path of one image"),
      ] {
        let error = #expect(throws: LabError.self) {
          try LocalKernel(path: directory.appending(path: path).path)
        }
        #expect(error?.description.contains(words) ?? false, "\(path): \(error?.description ?? "")")
      }
    }
  }

  @Test("the stamp changes with the image")
  func stamp() throws {
    try withFiles(["bzImage": Self.image("6.14.0"), "modules/6.14.0/modules.order": Data()]) { directory in
      let kernel = try LocalKernel(path: directory.path)
      let before = try kernel.stamp
      #expect(try LocalKernel(path: directory.path).stamp == before)
      try (Self.image("6.14.0") + Data(count: 1)).write(to: directory.appending(path: "bzImage"))
      #expect(try LocalKernel(path: directory.path).stamp != before)
    }
  }
}
