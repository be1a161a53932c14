// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory
internal import Linux
internal import Logging
internal import Passthrough
internal import Seams

/// A virtual machine with its threads and devices. Its guest runs from ``start()`` to ``stop()``; after that the devices
/// have to be given back.
struct VM<B: HostBackend> {
  private let assembly: Assembly<B>
  private let threads: Crew<B>
  private let ending: Ending
  private let recorder: Recorder

  /// What a VM is doing.
  struct Status {
    /// How it ended, or nil.
    let outcome: Outcome?
    /// Its functions.
    let functions: [FunctionStatus]
  }

  /// Makes the threads of a machine that has been put together. They wait.
  init(
    _ assembly: Assembly<B>, _ configuration: Configuration, recorder: Recorder, ending: Ending
  ) throws(RunError) {
    self.assembly = assembly
    self.recorder = recorder
    self.ending = ending
    threads = try Crew(assembly, configuration, recorder: recorder, ending: ending)
  }

  /// The serial port.
  var serial: Serial { assembly.serial }

  /// The assigned functions.
  var functions: [AssignedFunction<B>] { assembly.devices.functions }

  /// The status now.
  var status: Status {
    Status(outcome: ending.outcome, functions: functions.map { FunctionStatus($0) })
  }

  /// Confines the calling thread and lets the guest run.
  func start() throws(KernelError) { try threads.start() }

  /// Does what the host's kernel asks for about a device. A failure ends the VM.
  func attend(to notice: Notice, of function: Int) {
    do throws(FunctionError) { try functions[function].attend(to: notice) } catch {
      ending.end(.failure(.function(error)))
    }
  }

  /// Takes a device from the guest and gives it back to the host. A failure ends the VM.
  ///
  /// - Returns: False if the VM has no such device.
  func remove(_ address: String) -> Bool {
    guard let function = functions.first(where: { $0.address == address }) else { return false }
    do throws(FunctionError) { try function.remove() } catch { ending.end(.failure(.function(error))) }
    return true
  }

  /// Takes all vCPUs out of the guest for good.
  func stop() {
    for function in functions { function.stopWaiting() }
    threads.stop()
  }

  /// Closes the gates, gives the devices back and frees guest RAM. No vCPU runs.
  ///
  /// - Returns: What failed.
  func release() -> [FunctionError] {
    var failures: [FunctionError] = []
    for function in functions {
      do throws(FunctionError) { try function.close() } catch { failures.append(error) }
    }
    return failures + threads.handBack(meanwhile: freeMemory)
  }

  /// Unpins and frees guest RAM. No device is a bus master any more; one whose gate could not be closed meets the IOMMU.
  private func freeMemory() {
    func warn(_ cause: String) {
      recorder.log.warning("guest RAM is there until the end of the process: \(cause)")
    }
    do throws(OperationError) { try assembly.devices.dma?.unpinMemory(unmapped: recorder.unpinned) } catch {
      return warn(error.description)
    }
    do throws(KernelError) { try assembly.memory.discard() } catch { warn(error.description) }
  }
}

/// The state of one function.
struct FunctionStatus {
  /// The address on the host.
  let address: String
  let statistics: FunctionStatistics

  init(_ function: AssignedFunction<some Backend>) {
    address = function.address
    statistics = function.statistics
  }
}
