// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The demo without an emulated machine: the guest's NVMe drive is another process (vfio-user), so that this machine
/// needs KVM and no IOMMU.
struct DirectDemo {
  let workspace: Workspace
  /// The directory of the guest's output and of the trace.
  let directory: URL

  /// Creates the demo. Its files are in the lab's directory of outputs.
  init(_ workspace: Workspace) {
    self.workspace = workspace
    directory = workspace.out.appending(path: "demo")
  }

  /// The program of the drive.
  private var server: URL { workspace.runner.deletingLastPathComponent().appending(path: "VFIOUserNVMe") }

  /// Runs the guest. Prints its output, the trace, the summary and the checksums.
  ///
  /// - Returns: True if the guest has read the content of the drive.
  func run() throws -> Bool {
    try directory.removeIfPresent()
    try directory.makeDirectory()
    let sum = try Image.smallDrive.make(in: directory)
    let manifest = try Preparation(workspace).guestManifest([.newCloud, .oldCloud])
    let names = [KernelName.newCloud, .oldCloud].map(\.rawValue)
    guard let kernel = names.lazy.compactMap({ manifest.guestKernels[$0] }).first else {
      throw LabError("demo: \(manifest.missing.values.first ?? "no kernel for the guest")")
    }
    // A socket's path has at most 107 bytes.
    let socket = FileManager.default.temporaryDirectory.appending(path: "sluice-demo-\(getpid())").path
    let image = directory.appending(path: Image.smallDrive.name).path
    let drive = try start([server.path, "--socket", socket, "--image", image], as: "drive")
    defer { drive.kill() }
    let limit = ContinuousClock.now + .seconds(10)
    while !URL(filePath: socket).exists {
      guard drive.isRunning, ContinuousClock.now < limit else {
        throw LabError("demo: the drive does not start: \(drive.lastMessage)")
      }
      usleep(10_000)
    }
    let guest = try start(
      [
        workspace.sluice.path, "run", "--kernel", kernel.image, "--initrd", kernel.initramfs,
        "--append", "console=ttyS0 quiet panic=-1 lab.steps=nvme-sha256", "--memory", "512M", "--summary",
        "--trace", directory.appending(path: "trace.jsonl").path, "--device", "vfio-user:\(socket)",
      ], as: "guest")
    let status = try guest.wait()
    for (title, name) in [("trace", "trace.jsonl"), ("guest", "guest.log"), ("summary", "guest.err")] {
      Demo.show(title, directory.appending(path: name))
    }
    let lines = GuestLines(guest.output)
    let read = lines.values(of: "nvme-sha256").first?.last ?? "nothing"
    Demo.printChecksums(image: sum, guest: read, bytes: Image.smallDrive.bytes)
    return status == 0 && lines.ended && lines.faults.isEmpty && read == sum
  }

  private func start(_ arguments: [String], as name: String) throws -> Child {
    try Child(
      arguments, log: directory.appending(path: "\(name).log"),
      messages: directory.appending(path: "\(name).err"), input: nil, deadline: .now + .seconds(120))
  }
}
