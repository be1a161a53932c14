// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Creates the files that L1 and its guests need: kernels, initramfs images, drives and the manifest.
struct Preparation {
  let workspace: Workspace
  let store: KernelStore

  init(_ workspace: Workspace) {
    self.workspace = workspace
    store = KernelStore(workspace: workspace)
  }

  /// Prepares the files of guests: kernels and initramfs images.
  ///
  /// - Parameter names: The kernels of guests.
  /// - Returns: A manifest without drives.
  func guestManifest(_ names: [KernelName]) throws -> Manifest {
    for directory in [workspace.images, workspace.initramfs, workspace.kernels] {
      try directory.makeDirectory()
    }
    var manifest = Manifest()
    manifest.tree = workspace.tree.path
    manifest.out = workspace.out.path
    manifest.sluice = workspace.sluice.path
    manifest.symbols = workspace.symbols.path
    manifest.planted = workspace.planted.path
    manifest.guests = workspace.guests.path
    manifest.programs = workspace.programs.path
    manifest.injections = workspace.tree.appending(path: "Tests/LabRunner/Cases/Program/injections").path
    for name in names { try add(name, to: &manifest) }
    return manifest
  }

  /// Prepares all files except L1's own initramfs, which `machine` creates.
  ///
  /// - Returns: The manifest.
  func manifest() throws -> Manifest {
    var manifest = try guestManifest(KernelName.allCases.filter { !$0.isOnDemand })
    _ = try EmulatorStore(workspace: workspace).program()
    printLine("lab: creating the drives")
    for (address, image, serial) in [
      (Address.bigDrive, Image.bigDrive, "lab-big"), (Address.smallDrive, .smallDrive, "lab-small"),
      (Address.virtualFunction, .virtualDrive, "lab-virtual"),
    ] {
      let sum = try image.make(in: workspace.images)
      manifest.drives[address] = Manifest.Drive(serial: serial, bytes: image.bytes, sha256: sum)
    }
    for (address, image) in [
      (Address.usb, Image.stick), (Address.messageUSB, .messageStick), (Address.disk, .disk),
      (Address.scsi, .scsiDisk),
    ] {
      manifest.sums[address] = try image.make(in: workspace.images)
    }
    _ = try Image.scratchDrive.make(in: workspace.images)
    _ = try Image.hotDrive.make(in: workspace.images)
    _ = try Image.benchDrive.make(in: workspace.images)
    manifest.sums[Address.scratchDrive] = try Image.scratchDrive.sum(
      ofFirst: Image.scratchDrive.bytes / 2, in: workspace.images)
    manifest.downloadSHA256 = try Image.download.make(in: workspace.images)
    return manifest
  }

  /// Adds a kernel for guests to the manifest, or the reason why it is missing.
  func add(_ name: KernelName, to manifest: inout Manifest) throws {
    do {
      manifest.guestKernels[name.rawValue] = try guest(name, store.kernel(name))
    } catch let error as Unavailable {
      printLine("lab: \(error)")
      manifest.missing[name.rawValue] = error.description
    }
  }

  /// Adds the root with the suite's systemd, and the Debian package, or the reason why they are missing.
  func add(systemd suite: String, to manifest: inout Manifest) throws {
    do throws(Unavailable) {
      let root = try SystemdRoot(suite: DebianSuite(suite), workspace: workspace).make()
      manifest.systemdRoots[suite] = root.path
    } catch {
      printLine("lab: \(error)")
      manifest.missing["systemd-\(suite)"] = error.description
      return
    }
    guard manifest.package.isEmpty else { return }
    printLine("lab: building the Debian package")
    manifest.package = try DebianPackage.build(workspace).file.path
  }

  /// Creates the initramfs images of a Linux guest. An image that is newer than the runner is kept.
  private func guest(_ name: KernelName, _ kernel: KernelPackage) throws -> Manifest.GuestKernel {
    let plain = workspace.initramfs.appending(path: "guest-\(name.rawValue)")
    if try isOutdated(plain) {
      printLine("lab: creating the initramfs for guests with \(kernel.version)")
      try fill(plain, from: kernel).archive(to: plain)
    }
    var result = Manifest.GuestKernel(
      image: kernel.image.path, version: kernel.version, initramfs: plain.path)
    if name == .newCloud || name == .oldCloud {
      let kexec = workspace.initramfs.appending(path: "guest-\(name.rawValue)-kexec")
      if try isOutdated(kexec) {
        let archive = try fill(kexec, from: kernel)
        try archive.add(program: "/sbin/kexec")
        try archive.copy(kernel.image, to: "second/vmlinuz")
        try archive.copy(plain, to: "second/initrd")
        try archive.archive(to: kexec)
      }
      result.kexecInitramfs = kexec.path
    }
    if name == .newCloud, FileManager.default.isExecutableFile(atPath: fio) {
      let file = workspace.initramfs.appending(path: "guest-\(name.rawValue)-fio")
      if try isOutdated(file) {
        let archive = try fill(file, from: kernel)
        try archive.add(program: fio)
        try archive.archive(to: file)
      }
      result.fioInitramfs = file.path
    }
    return result
  }

  private func fill(_ file: URL, from kernel: KernelPackage) throws -> Initramfs {
    let archive = try Initramfs(in: file.appendingPathExtension("d"), script: GuestInit.script)
    for (group, modules) in GuestInit.modules {
      try archive.add(modules: modules, as: group, from: kernel)
    }
    for program in GuestFacts.programs { try archive.add(program: program) }
    return archive
  }

  /// The path of fio. With its libraries, which include Ceph's, it takes 80 MB.
  ///
  /// Therefore only the initramfs of a guest that runs fio contains it.
  private let fio = "/usr/bin/fio"

  private func isOutdated(_ file: URL) throws -> Bool {
    guard file.exists else { return true }
    func date(_ url: URL) throws -> Date {
      try url.resourceValues(forKeys: [.contentModificationDateKey]).contentModificationDate ?? .distantPast
    }
    return try date(file) < date(workspace.runner)
  }

  /// Builds the kernel's selftests of VFIO, and returns their directory.
  func selftests(for l1: L1Kernel, _ kernel: KernelPackage) throws -> String {
    let programs = SelftestPrograms(workspace: workspace)
    try programs.build(for: kernel, store.aptOptions(l1))
    return programs.directory.path
  }

  /// Returns an L1 with this kernel, which runs `command`.
  func machine(_ l1: L1Kernel, extra: ExtraDevices = .none, command: String) throws -> Machine {
    let kernel = try store.kernel(l1)
    let file = workspace.initramfs.appending(path: "host")
    let script = HostInit.script(out: workspace.out.path, command: command)
    let archive = try Initramfs(in: file.appendingPathExtension("d"), script: script)
    try archive.add(modules: HostInit.modules, as: "root", from: kernel)
    try archive.archive(to: file)
    let emulator =
      try extra == .igb
      ? SelftestEmulator(workspace: workspace).program()
      : [EmulatorStore(workspace: workspace).program().path]
    let machine = Machine(workspace: workspace, emulator: emulator, kernel: kernel, initramfs: file)
    try machine.makeServer()
    return machine
  }
}
