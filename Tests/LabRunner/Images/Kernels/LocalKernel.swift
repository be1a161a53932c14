// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A kernel at a path of this machine.
struct LocalKernel: Hashable, Sendable {
  enum Form: Hashable, Sendable {
    /// A tree in which the kernel and its modules were built.
    case buildTree(URL)
    /// An image in the format bzImage, and the directory with its modules.
    case image(URL, modules: URL)
    /// Debian packages that together contain the kernel and its modules.
    case packages([URL])
  }

  let form: Form
  /// The version in the format of `uname -r`.
  let version: String

  /// Finds the kernel at a path.
  ///
  /// - Throws: `LabError` with the cause and the remedy.
  init(path: String) throws {
    let file = URL(filePath: path).standardizedFileURL
    guard file.exists else {
      throw LabError("no such kernel or file; use \(KernelName.hosts), or the path of a kernel")
    }
    if try file.resourceValues(forKeys: [.isDirectoryKey]).isDirectory ?? false {
      try self.init(directory: file)
    } else if file.pathExtension == "deb" {
      try self.init(package: file)
    } else {
      try self.init(image: file)
    }
  }

  private init(form: Form, version: String) {
    self.form = form
    self.version = version
  }

  private init(directory: URL) throws {
    let image = directory.appending(path: "arch/x86/boot/bzImage")
    if image.exists {
      self.init(form: .buildTree(directory), version: try Self.version(ofImage: image))
      return
    }
    let images = try Self.images(in: directory)
    guard images.count == 1, let image = images.first else {
      throw LabError(
        images.isEmpty
          ? "no arch/x86/boot/bzImage and no vmlinuz; build the kernel, or use the path of its image"
          : "\(images.count) kernels; use the path of one image")
    }
    try self.init(image: image)
  }

  /// Returns the images in a directory and in its `boot`, or else the images beside modules.
  private static func images(in directory: URL) throws -> [URL] {
    func entries(_ folder: URL) throws -> [URL] {
      guard folder.exists else { return [] }
      return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        .map { folder.appending(path: $0) }
    }
    let near = try (entries(directory) + entries(directory.appending(path: "boot"))).filter {
      $0.lastPathComponent == "bzImage" || $0.lastPathComponent.hasPrefix("vmlinuz")
    }
    if !near.isEmpty { return near }
    let folders = try ["lib/modules", "usr/lib/modules"].flatMap {
      try entries(directory.appending(path: $0))
    }
    let images = folders.map { $0.appending(path: "vmlinuz").resolvingSymlinksInPath() }.filter(\.exists)
    return Set(images).sorted { $0.path < $1.path }
  }

  private init(image: URL) throws {
    let version = try Self.version(ofImage: image)
    let folder = image.deletingLastPathComponent()
    let candidates = Self.moduleFolders(of: version).map { folder.appending(path: $0) } + [folder]
    let found = candidates.first {
      $0.lastPathComponent == version && $0.appending(path: "modules.order").exists
    }
    guard let found else {
      throw LabError(
        "no modules of \(version) beside the image; install them with "
          + "'make modules_install INSTALL_MOD_PATH=\(folder.path)'")
    }
    self.init(form: .image(image, modules: found), version: version)
  }

  /// The directories that can contain the modules of an image, relative to the directory of the image.
  static func moduleFolders(of version: String) -> [String] {
    ["", "../"].flatMap { up in ["lib/modules", "usr/lib/modules", "modules"].map { "\(up)\($0)/\(version)" }
    }
  }

  private init(package: URL) throws {
    let shown = try Command.result(["dpkg-deb", "--field", package.path, "Package", "Depends"])
    guard shown.status == 0 else { throw LabError("not a Debian package; download the file again") }
    let folder = package.deletingLastPathComponent()
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    let (version, files) = try Self.files(
      AptFields(shown.output), in: package.lastPathComponent, beside: names)
    self.init(form: .packages(files.map { folder.appending(path: $0) }), version: version)
  }

  /// Returns the version of the kernel in a package, and the files of the packages that contain the kernel and
  /// its modules.
  ///
  /// - Parameters:
  ///   - fields: The fields of the package.
  ///   - file: The name of the package's file.
  ///   - names: The names of all files in its directory.
  static func files(
    _ fields: AptFields, in file: String, beside names: [String]
  ) throws -> (version: String, files: [String]) {
    guard let name = fields["Package"], let version = version(ofPackage: name) else {
      throw LabError(
        "\(fields["Package"] ?? "no name"): not a package with a kernel; use linux-image-VERSION")
    }
    let isImage = name.hasPrefix("linux-image-")
    let parts = AptFields.packages(
      ofImage: isImage ? name : "linux-image-\(version)",
      dependencies: isImage ? fields.dependencies : ["linux-binary-\(version)"])
    let files = try parts.map { part in
      if part == name { return file }
      guard let found = names.last(where: { $0.hasPrefix("\(part)_") && $0.hasSuffix(".deb") }) else {
        throw LabError("\(part): package not found beside the file; download it to the same directory")
      }
      return found
    }
    return (version, files)
  }

  /// Returns the version of the kernel in the name of a package, or nil.
  static func version(ofPackage name: String) -> String? {
    name.wholeMatch(of: #/linux-(?:image|binary|modules)-(?:unsigned-)?([0-9].*)/#).map { String($0.1) }
  }

  private static func version(ofImage file: URL) throws -> String {
    let handle = try FileHandle(forReadingFrom: file)
    defer { try? handle.close() }  // nothing was written
    guard let version = version(inImage: try handle.read(upToCount: 0x10000) ?? Data()) else {
      throw LabError(
        "\(file.lastPathComponent): not a kernel in the format bzImage; use arch/x86/boot/bzImage")
    }
    return version
  }

  /// Returns the version in the setup header of a bzImage, or nil if the data has no such header.
  ///
  /// The Linux/x86 boot protocol defines the field `kernel_version` at 0x20E: the offset of a string, less 0x200.
  static func version(inImage data: Data) -> String? {
    let bytes = [UInt8](data)
    guard bytes.count > 0x210, bytes[0x202..<0x206].elementsEqual("HdrS".utf8) else { return nil }
    let offset = Int(bytes[0x20E]) | Int(bytes[0x20F]) << 8
    guard offset != 0, offset + 0x200 < bytes.count else { return nil }
    let word = bytes[(offset + 0x200)...].prefix { $0 > 0x20 && $0 < 0x7F }
    return word.isEmpty ? nil : String(decoding: word, as: UTF8.self)
  }

  /// The files whose change makes another kernel.
  private var files: [URL] {
    switch form {
    case .buildTree(let tree): ["arch/x86/boot/bzImage", "modules.order"].map { tree.appending(path: $0) }
    case .image(let image, let modules): [image, modules.appending(path: "modules.order")]
    case .packages(let files): files
    }
  }

  /// The paths, the sizes and the dates of the files.
  var stamp: String {
    get throws {
      try files.filter(\.exists).map { file in
        let values = try file.resourceValues(forKeys: [.fileSizeKey, .contentModificationDateKey])
        let date = values.contentModificationDate?.timeIntervalSince1970 ?? 0
        return "\(file.path) \(values.fileSize ?? 0) \(date)\n"
      }.joined()
    }
  }

  /// Installs the kernel and its modules below a directory, in the layout of `KernelPackage`.
  func install(in root: URL) throws {
    switch form {
    case .buildTree(let tree):
      try copy(tree.appending(path: "arch/x86/boot/bzImage"), root)
      try installModules(of: tree, in: root)
    case .image(let image, let modules):
      try copy(image, root)
      let folder = root.appending(path: "lib/modules")
      try folder.makeDirectory()
      let target = folder.appending(path: version).path
      // The modules are only read. If they are on another file system, they are copied.
      if try Command.result(["cp", "-rlL", modules.path + "/.", target]).status != 0 {
        try Command.output(["cp", "-rL", modules.path + "/.", target])
      }
    case .packages(let files):
      try KernelPackage.unpack(files, into: root)
    }
  }

  private func copy(_ image: URL, _ root: URL) throws {
    let boot = root.appending(path: "boot")
    try boot.makeDirectory()
    try FileManager.default.copyItem(
      at: image.resolvingSymlinksInPath(), to: boot.appending(path: "vmlinuz-\(version)"))
  }

  private func installModules(of tree: URL, in root: URL) throws {
    let folder = root.appending(path: "lib/modules/\(version)")
    try folder.makeDirectory()
    if tree.appending(path: "modules.order").exists {
      try Command.output([
        "make", "-C", tree.path, "modules_install", "INSTALL_MOD_PATH=\(root.path)", "INSTALL_MOD_STRIP=1",
        "DEPMOD=true",
      ])
      // The links lead to directories that L1 does not need.
      for name in ["build", "source"] {
        try Command.output(["rm", "-f", folder.appending(path: name).path])
      }
    } else {
      for name in ["modules.builtin", "modules.builtin.modinfo"] {
        let file = tree.appending(path: name)
        guard file.exists else { continue }
        try FileManager.default.copyItem(at: file, to: folder.appending(path: name))
      }
    }
    let config = tree.appending(path: ".config")
    if config.exists {
      try FileManager.default.copyItem(at: config, to: root.appending(path: "boot/config-\(version)"))
    }
  }
}
