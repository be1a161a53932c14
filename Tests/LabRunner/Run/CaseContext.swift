// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The environment of a case inside L1.
final class CaseContext {
  var manifest: Manifest
  /// The VMM that runs Linux guests: `sluice` or `qemu`.
  var vmm: String
  let name: String
  /// The directory of the case's files while it runs.
  ///
  /// It is in memory, because a guest writes too much to its console for 9p.
  let directory: URL
  let deadline: ContinuousClock.Instant
  private let reports: Reports
  private(set) var children: [Child] = []

  init(_ one: Case, manifest: Manifest, vmm: String, reports: Reports) throws {
    self.manifest = manifest
    self.vmm = vmm
    self.reports = reports
    name = one.name
    deadline = .now + .seconds(one.limit)
    directory = URL(filePath: "/run/lab/\(one.name)")
    try directory.removeIfPresent()
    try directory.makeDirectory()
  }

  /// Reports a note, which is printed while the case runs.
  func note(_ text: String) { reports.send(Event(.note, name, text: text)) }

  func file(_ name: String) -> URL { directory.appending(path: name) }

  func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws {
    guard condition else { throw Failed(reason()) }
  }

  /// True if programs start under strace, for `SystemCalls`.
  var isTracing = false

  /// Starts a program. Its standard output goes to `NAME.log`, and its standard error to `NAME.err`.
  func start(_ arguments: [String], as name: String, input: FileHandle? = nil) throws -> Child {
    let tracer = isTracing ? SystemCalls.tracer(prefix: file("strace").path) : []
    let child = try Child(
      tracer + arguments, log: file("\(name).log"), messages: file("\(name).err"), input: input,
      deadline: deadline)
    children.append(child)
    return child
  }

  /// Returns the path of a guest of `Guests/`.
  func guest(_ name: String) throws -> String {
    let path = "\(manifest.guests)/\(name).elf"
    guard URL(filePath: path).exists else {
      throw Skipped("guest \(name): Guests/build did not create \(name).elf")
    }
    return path
  }

  func kernel(_ name: KernelName) throws -> Manifest.GuestKernel {
    guard let kernel = manifest.guestKernels[name.rawValue] else {
      throw Skipped(manifest.missing[name.rawValue] ?? "kernel \(name.rawValue): not available")
    }
    return kernel
  }

  /// Kills the programs that still run, and moves the case's files to the shared output directory.
  func close() throws {
    for child in children where child.isRunning { child.kill() }
    let target = URL(filePath: manifest.out).appending(path: name)
    try target.removeIfPresent()
    // The shared directory accepts no sockets.
    try Command.output(["find", directory.path, "-type", "s", "-delete"])
    // FileManager would keep the owner of each file. QEMU serves the directory and may run as an ordinary
    // user, who must not change owners.
    try Command.output(["cp", "-r", directory.path, target.path])
    try directory.removeIfPresent()
  }
}
