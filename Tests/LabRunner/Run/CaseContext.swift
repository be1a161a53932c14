// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a case has to hand inside L1.
final class CaseContext {
  var manifest: Manifest
  /// The VMM that runs Linux guests: `sluice` or `qemu`.
  var vmm: String
  let name: String
  /// Files of this case while it runs, in memory: the console of a guest is too chatty for 9p.
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

  /// Shows text while the case runs.
  func note(_ text: String) { reports.send(Event(.note, name, text: text)) }

  func file(_ name: String) -> URL { directory.appending(path: name) }

  func require(_ condition: Bool, _ reason: @autoclosure () -> String) throws {
    guard condition else { throw Failed(reason()) }
  }

  /// Whether what is started runs under strace, for `SystemCalls`.
  var isTracing = false

  /// Starts a program whose output goes to `NAME.log` and whose messages go to `NAME.err`.
  func start(_ arguments: [String], as name: String, input: FileHandle? = nil) throws -> Child {
    let tracer = isTracing ? SystemCalls.tracer(prefix: file("strace").path) : []
    let child = try Child(
      tracer + arguments, log: file("\(name).log"), messages: file("\(name).err"), input: input,
      deadline: deadline)
    children.append(child)
    return child
  }

  /// The path of a guest of `Guests/`.
  func guest(_ name: String) throws -> String {
    let path = "\(manifest.guests)/\(name).elf"
    guard URL(filePath: path).exists else { throw Skipped("Guests/build made no \(name).elf") }
    return path
  }

  func kernel(_ name: KernelName) throws -> Manifest.GuestKernel {
    guard let kernel = manifest.guestKernels[name.rawValue] else {
      throw Skipped(manifest.missing[name.rawValue] ?? "no kernel \(name.rawValue)")
    }
    return kernel
  }

  /// Ends what still runs and moves the files to where the outside finds them.
  func close() throws {
    for child in children where child.isRunning { child.kill() }
    let target = URL(filePath: manifest.out).appending(path: name)
    try target.removeIfPresent()
    // Not by FileManager, which keeps the owner: QEMU may be an ordinary user's, who may not give files away.
    try Command.output(["cp", "-r", directory.path, target.path])
    try directory.removeIfPresent()
  }
}
